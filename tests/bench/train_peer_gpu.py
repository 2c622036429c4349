#!/usr/bin/env python3
"""tests/bench/train_peer_gpu.py - training steps of the same networks on one GPU, ours and PyTorch's best, in turns.

    train_peer_gpu.py BUILD [--models resnet8,resnet18,...] [--rounds 3] [--seconds 5] [--limit SECONDS] [--each 240]
                            [--precision bf16|tf32|f32] [--ways captured,graphs,max-autotune] [--small]

BUILD: build folder with tests/bench_train_peer and launch/liblimbeck_cuda.so (or LMB_CUDA_MODULE). A line each: state,
work and figures, with tabs between; what is measured again has a line again, and the last one counts. States:

    ok, below    images a second of ours divided by PyTorch's best, the median of the rounds, against this work's bar
    late         the time for this work (--each) or for all (--limit) was over before PyTorch's best was known; what is
                 known is there
    not begun    no time was left; not run: PyTorch compiled nothing (no compiler?), or failed; FAILED: ours did. A way
                 that fails in PyTorch is named, and is none of its best
    figure       ours alone, where there is no PyTorch for this GPU

PyTorch: channels_last, autocast to bf16 (or TF32), cudnn.benchmark, fused SGD, pictures of noise that lie on the GPU:
nothing is loaded. Ours reads the same from memory through its loader. Its best is the fastest of `eager` and --ways:
`captured`, the whole step, optimizer too, captured as one CUDA graph; `graphs`, the same of what torch.compile makes;
`max-autotune` and `reduce-overhead`, torch.compile's modes of that name, with CUDA graphs of its own. All works have
one round, in the order of what they cost, before any has a second one; later rounds measure the fastest way again.
Each work's PyTorch is a process of its own, which is ended when it takes too long. Exit code 0, or 1 when a row FAILED.
--small: networks of nothing, PyTorch on the processor, to see that all of this runs; no figure means anything.
"""
import argparse, importlib.util, json, os, select, signal, statistics, subprocess, sys, time

from peer_blocks import CLASSES, network

WORKS = {  # what it is, our model section, PyTorch's network, sample shape, batch, bar; our and PyTorch's teacher
    'resnet8': ('ResNet-8, batch 128', '{name: resnet, depth: 8}', 'resnet8', (3, 32, 32), 128, 2.0),
    'resnet18': ('ResNet-18, batch 512', '{name: resnet_imagenet, depth: 18, small: true}', 'resnet18', (3, 32, 32),
                 512, 1.2),
    'mobilenet_v2': ('MobileNetV2, batch 512', '{name: mobilenet_v2}', 'mobilenet_v2', (3, 32, 32), 512, 1.3),
    'distillation': ('WRN-28-10 -> ResNet-20, batch 512', '{name: resnet, depth: 20}', 'resnet20', (3, 32, 32),
                     512, 1.2, '{name: wide_resnet, depth: 28, width: 10}', 'wrn28_10'),
    'wrn28_10': ('WRN-28-10, batch 512', '{name: wide_resnet, depth: 28, width: 10}', 'wrn28_10', (3, 32, 32),
                 512, 1.2),
    'resnet50_224': ('ResNet-50 224, batch 256', '{name: resnet_imagenet, depth: 50}', 'resnet50_224', (3, 224, 224),
                     256, 1.0),
}
SMALL = {
    'resnet8': ('ResNet-8, small', '{name: resnet, depth: 8}', 'resnet8', (3, 8, 8), 8, 2.0),
    'distillation': ('ResNet-8 -> ResNet-8, small', '{name: resnet, depth: 8}', 'resnet8', (3, 8, 8), 8, 1.2,
                     '{name: resnet, depth: 8}', 'resnet8'),
}
ALPHA, TEMPERATURE = 0.9, 4.0  # of bench_train_peer's distillation
COMPILED = ('graphs', 'max-autotune', 'reduce-overhead')
LEAST = 20  # seconds, for which nothing is begun


class Late(Exception):
    pass


class Steps:
    """One way to run PyTorch's step; `speed` runs it for some seconds."""

    def __init__(self, work, precision, how, device):
        import torch
        import torch.nn.functional as F
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != 'f32'
        _, _, name, shape, self.batch, _, *taught_by = work
        on_gpu = device == 'cuda'
        net = network(name).to(device).to(memory_format=torch.channels_last).train()
        teacher = network(taught_by[1]).to(device).to(memory_format=torch.channels_last).eval() if taught_by else None
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, **({'fused': True} if on_gpu else {}))
        x = torch.randn(self.batch, *shape, device=device).to(memory_format=torch.channels_last)
        y = torch.arange(self.batch, device=device) % CLASSES

        def loss_of(x, y):
            logits = net(x)
            loss = F.cross_entropy(logits, y)
            if teacher is None:
                return loss
            with torch.no_grad():
                taught = F.log_softmax(teacher(x).float() / TEMPERATURE, 1)
            said = F.log_softmax(logits.float() / TEMPERATURE, 1)
            kl = F.kl_div(said, taught, reduction='batchmean', log_target=True)
            return (1 - ALPHA) * loss + ALPHA * TEMPERATURE * TEMPERATURE * kl

        captured = how in ('captured', 'graphs')
        if how == 'graphs':
            loss_of = torch.compile(loss_of)
        elif how in COMPILED:
            loss_of = torch.compile(loss_of, mode=how)

        def step():
            # what autocast remembers of a weight would outlive a capture
            with torch.autocast(device, torch.bfloat16, enabled=precision == 'bf16', cache_enabled=not captured):
                loss = loss_of(x, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        self.step, self.wait = step, torch.cuda.synchronize if on_gpu else lambda: None
        if captured:
            self.capture(step, optimizer)
        for _ in range(10 if on_gpu else 1):
            self.step()

    def capture(self, step, optimizer):
        """As "Whole-network capture" in PyTorch's notes on CUDA says."""
        import torch
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(5):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            step()
        self.step = self.graph.replay

    def speed(self, seconds):
        self.wait()
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            for _ in range(10 if seconds >= 1 else 1):
                self.step()
                steps += 1
            self.wait()
        return steps * self.batch / (time.perf_counter() - begun)


def child(a):
    """The process that a work's PyTorch runs in: reads ways, or "best" for the fastest so far, and answers images a
    second. Of several ways the fastest alone keeps its memory."""
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what a compiler says is no answer
    import torch
    device = 'cpu' if a.small else 'cuda'
    work = (SMALL if a.small else WORKS)[a.child]
    best, fastest = None, 0
    for line in sys.stdin:
        how = line.strip()
        try:
            steps = best if how == 'best' else Steps(work, a.precision, how, device)
            speed = steps.speed(a.seconds)
            if how != 'best' and speed > fastest:
                best, fastest = steps, speed
            del steps
            if device == 'cuda':
                torch.cuda.empty_cache()
            said = {'speed': speed}
        except Exception as e:  # of a compiler or a library
            said = {'failed': (str(e).strip().splitlines() or [type(e).__name__])[-1]}
        print(json.dumps(said), file=answers, flush=True)
    return 0


class Peer:
    def __init__(self, name, a):
        command = [sys.executable, os.path.abspath(__file__), a.build, '--child', name, '--seconds', str(a.seconds),
                   '--precision', a.precision] + (['--small'] if a.small else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def ask(self, how, until):
        """Images a second. Late when `until` passes, and then it is over with this process."""
        try:
            self.process.stdin.write((how + '\n').encode())
            self.process.stdin.flush()
            ready = select.select([self.process.stdout], [], [], max(0, until - time.time()))[0]
            line = self.process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = b''
        if line is None:
            self.end()
            raise Late(how)
        said = json.loads(line) if line else {'failed': 'it ended'}
        if 'failed' in said:
            raise RuntimeError('%s: %s' % (how, said['failed']))
        return said['speed']

    def end(self):
        """With what its compiler has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def ours(a, work, until):
    _, text, _, shape, batch, _, *taught_by = work
    way = ('cuda' if a.precision == 'f32' else 'cuda-' + a.precision) + '-fast'  # engines by their times, as PyTorch's
    env = dict(os.environ)
    env.setdefault('LMB_CUDA_MODULE', os.path.abspath(os.path.join(a.build, 'launch', 'liblimbeck_cuda.so')))
    command = [os.path.join(a.build, 'tests', 'bench_train_peer'), text, *map(str, shape), str(batch), '1',
               str(a.seconds), way]
    try:
        done = subprocess.run(command + taught_by[:1], env=env, capture_output=True, text=True,
                              timeout=max(1, until - time.time()))
    except subprocess.TimeoutExpired:
        raise Late('ours')
    if done.returncode or not done.stdout.strip():
        raise RuntimeError((done.stderr.strip().splitlines() or ['exit code %d, no figure' % done.returncode])[-1])
    return float(done.stdout)


def judge(ratio, bar, late, compiled):
    """late: its best may be still faster. compiled: it was measured at more than `eager`, if more was asked for."""
    return 'below' if ratio < bar else 'late' if late else 'ok' if compiled else 'not run'


class Work:
    """One network, its figures so far, and its PyTorch's process. `over`: it has no further rounds."""

    def __init__(self, name, a):
        self.name, self.a, self.over, self.peer = name, a, False, None
        self.work = (SMALL if a.small else WORKS)[name]
        self.ways, self.pairs, self.missing, self.late, self.took = {}, [], [], False, 0

    def row(self, state, text):
        print('%s\ttrain %s, %s, beside PyTorch\t%s' % (state, self.work[0], self.a.precision, text), flush=True)
        return state

    def first_round(self, until):
        mine, begun, measured = None, time.time(), 0
        try:
            mine = ours(self.a, self.work, until)
            measured = time.time() - begun
            self.peer = Peer(self.name, self.a)
            for how in ['eager'] + self.a.ways:
                try:
                    self.ways[how] = self.peer.ask(how, until)
                except RuntimeError as e:  # the others may still do
                    self.missing.append('%s' % e)
        except Late as e:
            self.over = self.late = True
            asked = ['eager'] + self.a.ways
            self.missing += ['%s: out of time' % how for how in asked[asked.index(str(e)) if str(e) in asked else 0:]]
            if mine is None:
                return self.row('late', 'ours had no figure in %.0f s' % (time.time() - begun))
        except RuntimeError as e:
            self.over = True
            return self.row('not run' if 'no CUDA device' in str(e) else 'FAILED', 'ours: %s' % e)
        self.took = measured + 2 * self.a.seconds
        if not self.ways:
            self.over = True
            return self.row('late' if self.late else 'not run',
                            'ours %.0f images/s; PyTorch: %s' % (mine, '; '.join(self.missing)))
        self.pairs.append((mine, max(self.ways.values())))
        return self.report()

    def next_round(self, until):
        try:
            self.pairs.append((ours(self.a, self.work, until), self.peer.ask('best', until)))
        except (Late, RuntimeError):  # figures of the rounds before stay
            self.over = True
            return 'ok'
        return self.report()

    def report(self):
        ratios, bar = sorted(o / t for o, t in self.pairs), self.work[5]
        best, ratio = max(self.ways, key=self.ways.get), statistics.median(ratios)
        spread = ' (%.2f to %.2f, %d rounds)' % (ratios[0], ratios[-1], len(ratios)) if len(ratios) > 1 else ''
        text = 'ours %.0f images/s, PyTorch eager %s, best %.0f (%s): %.2f%s, bar %.1f' % (
            statistics.median(o for o, _ in self.pairs), '%.0f' % self.ways['eager'] if 'eager' in self.ways else '-',
            statistics.median(t for _, t in self.pairs), best, ratio, spread, bar)
        compiled = any(how in self.ways for how in COMPILED) or not any(how in self.a.ways for how in COMPILED)
        state = 'figure' if self.a.small else judge(ratio, bar, self.late, compiled)
        return self.row(state, text + ''.join('; ' + m for m in self.missing))


def alone(works, a, reason, end):
    """Without PyTorch: ours, once. Did one fail?"""
    failed = False
    for w in works:
        until = min(end, time.time() + a.each)
        if until - time.time() < LEAST:
            w.row('not begun', 'time is over')
            continue
        try:
            w.row('figure', 'ours %.0f images/s; not compared: %s' % (ours(a, w.work, until), reason))
        except Late:
            w.row('late', 'ours had no figure; not compared: %s' % reason)
        except RuntimeError as e:
            if 'no CUDA device' in str(e):
                print('not run\tbeside PyTorch\t%s' % e, flush=True)
                break
            w.row('FAILED', 'ours: %s' % e)
            failed = True
    return failed


def compare(works, a, end):
    """Did one of ours fail?"""
    states = {}
    for number in range(a.rounds):
        for w in works:
            left = end - time.time()
            if w.over or left < max(LEAST, 1.2 * w.took):
                if number == 0:
                    states[w] = w.row('not begun', 'time is over')
                    w.over = True
                continue
            until = min(end, time.time() + a.each)
            state = w.next_round(until) if number else w.first_round(until)
            states.setdefault(w, state)
    return 'FAILED' in states.values()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('build')
    p.add_argument('--models')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float)
    p.add_argument('--limit', type=float, default=3600)
    p.add_argument('--each', type=float, default=240)
    p.add_argument('--precision', default='bf16', choices=['bf16', 'tf32', 'f32'])
    p.add_argument('--ways', default='captured,graphs,max-autotune')
    p.add_argument('--small', action='store_true')
    p.add_argument('--child', help=argparse.SUPPRESS)
    a = p.parse_args()
    a.seconds = a.seconds or (0.2 if a.small else 5)
    if a.child:
        return child(a)
    known = SMALL if a.small else WORKS
    names = a.models.split(',') if a.models else list(known)
    a.ways = [] if a.small or a.ways == 'eager' else a.ways.split(',')
    for name in names:
        if name not in known:
            p.error('no work is named %s; there are %s' % (name, ', '.join(known)))
    for how in a.ways:
        if how != 'captured' and how not in COMPILED:
            p.error('--ways takes eager, or some of captured, %s, not %s' % (', '.join(COMPILED), how))
    works, end = [Work(name, a) for name in names], time.time() + a.limit
    reason = None
    if importlib.util.find_spec('torch') is None:
        reason = 'this Python has no PyTorch'
    elif not a.small:
        import torch
        if not torch.cuda.is_available():
            reason = 'PyTorch %s sees no CUDA device' % torch.__version__
    try:
        if reason:
            return 1 if alone(works, a, reason, end) else 0
        return 1 if compare(works, a, end) else 0
    finally:
        for w in works:
            if w.peer:
                w.peer.end()


if __name__ == '__main__':
    sys.exit(main())
