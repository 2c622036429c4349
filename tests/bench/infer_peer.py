#!/usr/bin/python3
"""tests/bench/infer_peer.py - predictions of the same networks, ours and ONNX Runtime's, in turns.

    infer_peer.py BUILD [--models resnet8,resnet20,mobilenet_v1] [--what f32,int8,avxvnni,avx2] [--batches 1x1,32x2]
                  [--rounds 15] [--seconds 0.2] [--check]
    infer_peer.py BUILD --compressed TEACHER.onnx SHAPE STUDENT.lmb [--rounds 15] [--seconds 0.2]

BUILD: build folder with tests/bench_infer_peer. --what: f32; int8 with our fastest kernels; or one kernel set of core/edge by
its name, also against all of ONNX Runtime. --batches: batch x threads. Each round runs one after the other for some tenths of
a second and gives one ratio of times; printed are the median ratio and the smallest and largest. Both get the same bytes or
floats in memory: of the QDQ file, QuantizeLinear at the input is taken out, as core/edge is given bytes, too. --check: exit 1
where a bar is missed. --compressed: a model in floats, ours and ONNX Runtime's, and what `limbeck compress` has made of it, in
turns, one sample and one thread; SHAPE as 3x32x32. Needs onnxruntime and onnx in the interpreter that runs this.
"""
import argparse, os, statistics, subprocess, sys, tempfile, time

import numpy as np
import onnx
import onnxruntime as ort

MODELS = {  # our model section, sample shape
    'resnet8': ('{name: resnet, depth: 8}', (3, 32, 32)),
    'resnet20': ('{name: resnet, depth: 20}', (3, 32, 32)),
    'mobilenet_v1': ('{name: mobilenet_v1, width: 0.25, stem_stride: 2, activation: relu}', (3, 96, 96)),
}
BARS = {('f32', 1): 1.3, ('int8', 1): 1.8, ('avxvnni', 1): 1.0, ('f32', 32): 1.0, ('int8', 32): 1.3}


def without_quantize(path):
    """The QDQ file with u8 instead of f32 as its input."""
    m = onnx.load(path)
    g = m.graph
    q = next(n for n in g.node if n.input[0] == g.input[0].name)
    assert q.op_type == 'QuantizeLinear', q.op_type
    for n in g.node:
        for i, name in enumerate(n.input):
            if name == q.output[0]:
                n.input[i] = g.input[0].name
    g.node.remove(q)
    for c in [c for c in g.initializer if c.name in q.input]:
        g.initializer.remove(c)
    g.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return m.SerializeToString()


class Peer:
    def __init__(self, folder, f32, batch, threads, shape):
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        path = os.path.join(folder, 'model.onnx' if f32 else 'model-int8.onnx')
        m = onnx.load_model_from_string(without_quantize(path)) if not f32 else onnx.load(path)
        for v in (m.graph.input[0], m.graph.output[0]):
            v.type.tensor_type.shape.dim[0].dim_value = batch
        self.s = ort.InferenceSession(m.SerializeToString(), o, providers=['CPUExecutionProvider'])
        x = np.random.default_rng(1).integers(0, 256, (batch, *shape)).astype(np.float32 if f32 else np.uint8)
        self.out = np.zeros((batch, 10), np.float32)
        self.x, self.io = ort.OrtValue.ortvalue_from_numpy(x), self.s.io_binding()
        self.io.bind_ortvalue_input(self.s.get_inputs()[0].name, self.x)
        self.io.bind_ortvalue_output(self.s.get_outputs()[0].name, ort.OrtValue.ortvalue_from_numpy(self.out))

    def run(self, seconds):
        times, run, io, clock = [], self.s.run_with_iobinding, self.io, time.perf_counter
        for _ in range(5):
            run(io)
        end = clock() + seconds
        while len(times) < 3 or times and clock() < end:
            t = clock()
            run(io)
            times.append(clock() - t)
        return 1e6 * statistics.median(times)


class Ours:
    def __init__(self, build, folder, what, batch, threads):
        file = 'model.onnx' if what == 'f32' else 'model.lmb'
        self.p = subprocess.Popen([os.path.join(build, 'tests/bench_infer_peer'), 'f32' if what == 'f32' else 'int8', os.path.join(folder, file),
                                   str(batch), str(threads)] + ([what] if what not in ('f32', 'int8') else []), text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, seconds):
        self.p.stdin.write(f'{seconds}\n')
        self.p.stdin.flush()
        return float(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def compressed(a):
    """Times of a teacher in floats, by us and by the peer, over those of its student."""
    onnx_file, shape, lmb = a.compressed
    shape = tuple(map(int, shape.split('x')))
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.abspath(onnx_file), os.path.join(folder, 'model.onnx'))
        os.symlink(os.path.abspath(lmb), os.path.join(folder, 'model.lmb'))
        runs = [Ours(a.build, folder, 'f32', 1, 1), Peer(folder, True, 1, 1, shape), Ours(a.build, folder, 'int8', 1, 1)]
        t = [[r.run(a.seconds) for r in runs] for _ in range(a.rounds)]
        runs[0].close()
        runs[2].close()
    ratio = sorted(min(ours, peer) / student for ours, peer, student in t)
    ours, peer, student = (statistics.median(column) for column in zip(*t))
    print(f'in floats: ours {ours:.1f} us, ONNX Runtime {ort.__version__} {peer:.1f} us; student {student:.1f} us: '
          f'{statistics.median(ratio):.2f} times faster than the faster one ({ratio[0]:.2f} to {ratio[-1]:.2f})')
    return 0


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('build')
    a.add_argument('--models', default=','.join(MODELS))
    a.add_argument('--what', default='f32,int8,avxvnni')
    a.add_argument('--batches', default='1x1,32x2')
    a.add_argument('--rounds', type=int, default=15)
    a.add_argument('--seconds', type=float, default=0.2)
    a.add_argument('--check', action='store_true')
    a.add_argument('--compressed', nargs=3, metavar=('TEACHER.onnx', 'SHAPE', 'STUDENT.lmb'))
    a = a.parse_args()
    if a.compressed:
        return compressed(a)
    missed = 0
    print(f'ONNX Runtime {ort.__version__}\n{"model":<13} {"what":<11} {"batch":>5} {"threads":>7} {"ours us":>9} {"peer us":>9}  peer / ours (spread)')
    with tempfile.TemporaryDirectory() as folder:
        for name in a.models.split(','):
            section, shape = MODELS[name]
            subprocess.run([os.path.join(a.build, 'tests/bench_infer_peer'), 'write', section, *map(str, shape), folder], check=True)
            for batch, threads in (map(int, b.split('x')) for b in a.batches.split(',')):
                for what in a.what.split(','):
                    if batch > 1 and what not in ('f32', 'int8'):
                        continue
                    peer, ours = Peer(folder, what == 'f32', batch, threads, shape), Ours(a.build, folder, what, batch, threads)
                    t = [(peer.run(a.seconds), ours.run(a.seconds)) for _ in range(a.rounds)]
                    ours.close()
                    r = sorted(p / o for p, o in t)
                    ratio, bar = statistics.median(r), BARS.get((what, batch))
                    missed += bar is not None and ratio < bar
                    print(f'{name:<13} {what:<11} {batch:>5} {threads:>7} {statistics.median(o for _, o in t):>9.1f} '
                          f'{statistics.median(p for p, _ in t):>9.1f}  {ratio:.2f} ({r[0]:.2f} to {r[-1]:.2f})'
                          + ('' if bar is None else f'  bar {bar}: {"met" if ratio >= bar else "missed"}'), flush=True)
    return int(a.check and missed > 0)


if __name__ == '__main__':
    sys.exit(main())
