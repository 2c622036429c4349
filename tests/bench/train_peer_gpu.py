#!/usr/bin/env python3
"""tests/bench/train_peer_gpu.py - training steps of the same networks on one GPU, ours and PyTorch's at its best, in turns.

    train_peer_gpu.py BUILD [--models resnet18,wrn28_10,resnet50_224,mobilenet_v2,resnet8] [--rounds 3] [--seconds 5]
                            [--precision bf16|tf32|f32] [--compile max-autotune|reduce-overhead|none]

BUILD: build folder with tests/bench_train_peer and launch/liblimbeck_cuda.so. Each round runs one after the other for some seconds
and gives one ratio of images a second; printed are the median ratio and the smallest and largest. PyTorch: channels_last, autocast
to bf16 (or TF32), cudnn.benchmark, torch.compile with CUDA graphs, fused SGD, pictures of noise that lie on the GPU: nothing is
loaded. Ours reads the same from memory through its loader. Without a GPU or a PyTorch for it, it says so and ends with 0.
"""
import argparse, os, statistics, subprocess, sys, time

from peer_blocks import inverted

MODELS = {  # our model section, sample shape, batch
    'resnet18': ('{name: resnet_imagenet, depth: 18, small: true}', (3, 32, 32), 512),
    'wrn28_10': ('{name: wide_resnet, depth: 28, width: 10}', (3, 32, 32), 512),
    'resnet50_224': ('{name: resnet_imagenet, depth: 50}', (3, 224, 224), 256),
    'mobilenet_v2': ('{name: mobilenet_v2}', (3, 32, 32), 512),
    'resnet8': ('{name: resnet, depth: 8}', (3, 32, 32), 128),
}
CLASSES = 10


def network(name):
    """The networks of train/zoo*.c."""
    import torch.nn as nn
    import torch.nn.functional as F

    def conv(i, o, k, stride=1, groups=1):
        return nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False)

    def conv_norm(i, o, k, stride=1, groups=1, act=None):
        return nn.Sequential(conv(i, o, k, stride, groups), nn.BatchNorm2d(o), *([act(inplace=True)] if act else []))

    class Residual(nn.Module):
        def __init__(self, i, o, stride, layers):
            super().__init__()
            self.layers = nn.Sequential(*layers)
            self.skip = conv_norm(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

        def forward(self, x):
            return F.relu(self.layers(x) + self.skip(x))

    def plain(i, width, stride):
        return Residual(i, width, stride, [conv_norm(i, width, 3, stride, act=nn.ReLU), conv_norm(width, width, 3)]), width

    def bottleneck(i, width, stride):
        layers = [conv_norm(i, width, 1, act=nn.ReLU), conv_norm(width, width, 3, stride, act=nn.ReLU), conv_norm(width, 4 * width, 1)]
        return Residual(i, 4 * width, stride, layers), 4 * width

    class Wide(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.a, self.b = nn.BatchNorm2d(i), nn.BatchNorm2d(o)
            self.first, self.second = conv(i, o, 3, stride), conv(o, o, 3)
            self.skip = conv(i, o, 1, stride) if stride != 1 or i != o else None

        def forward(self, x):
            active = F.relu(self.a(x))
            return self.second(F.relu(self.b(self.first(active)))) + (self.skip(active) if self.skip else x)

    Inverted = inverted(conv_norm)

    def stages(layers, i, block, sizes):
        for width, blocks, first in sizes:
            for k in range(blocks):
                made, i = block(i, width, first if k == 0 else 1)
                layers.append(made)
        return i

    if name == 'resnet8':
        layers = [conv_norm(3, 16, 3, act=nn.ReLU)]
        i = stages(layers, 16, plain, [(16, 1, 1), (32, 1, 2), (64, 1, 2)])
    elif name == 'resnet18':
        layers = [conv_norm(3, 64, 3, act=nn.ReLU)]
        i = stages(layers, 64, plain, [(64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)])
    elif name == 'resnet50_224':
        layers = [conv_norm(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
        i = stages(layers, 64, bottleneck, [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)])
    elif name == 'wrn28_10':
        layers = [conv(3, 16, 3)]
        i = stages(layers, 16, lambda i, o, s: (Wide(i, o, s), o), [(160, 4, 1), (320, 4, 2), (640, 4, 2)])
        layers += [nn.BatchNorm2d(i), nn.ReLU(inplace=True)]
    else:
        layers, i = [conv_norm(3, 32, 3, act=nn.ReLU6)], 32
        for expand, o, count, stride in [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]:
            for k in range(count):
                layers.append(Inverted(i, o, 1 if k else stride, expand))
                i = o
        layers.append(conv_norm(i, 1280, 1, act=nn.ReLU6))
        i = 1280
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, CLASSES))


class Peer:
    """PyTorch's step, made once; `speed` runs it for some seconds."""

    def __init__(self, name, precision, how):
        import torch
        import torch.nn.functional as F
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != 'f32'
        _, shape, self.batch = MODELS[name]
        net = network(name).cuda().to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, fused=True)
        if how != 'none':
            net = torch.compile(net, mode=how)
        x = torch.randn(self.batch, *shape, device='cuda').to(memory_format=torch.channels_last)
        y = torch.arange(self.batch, device='cuda') % CLASSES

        def step():
            with torch.autocast('cuda', torch.bfloat16, enabled=precision == 'bf16'):
                loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        self.step, self.wait = step, torch.cuda.synchronize
        for _ in range(10):
            step()

    def speed(self, seconds):
        self.wait()
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            for _ in range(10):
                self.step()
            self.wait()
            steps += 10
        return steps * self.batch / (time.perf_counter() - begun)


def ours(build, name, precision, seconds):
    text, shape, batch = MODELS[name]
    way = ('cuda' if precision == 'f32' else 'cuda-' + precision) + '-fast'  # engines by their times, as PyTorch's
    env = dict(os.environ, LMB_CUDA_MODULE=os.path.abspath(os.path.join(build, 'launch', 'liblimbeck_cuda.so')))
    done = subprocess.run([os.path.join(build, 'tests', 'bench_train_peer'), text, *map(str, shape), str(batch), '1', str(seconds), way],
                          env=env, capture_output=True, text=True, timeout=300)
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(done.stderr.strip() or 'no figure')
    return float(done.stdout)


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument('build')
    p.add_argument('--models', default=','.join(MODELS))
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--seconds', type=float, default=5)
    p.add_argument('--precision', default='bf16', choices=['bf16', 'tf32', 'f32'])
    p.add_argument('--compile', default='max-autotune', choices=['max-autotune', 'reduce-overhead', 'none'])
    a = p.parse_args()
    try:
        import torch
        reason = None if torch.cuda.is_available() else 'PyTorch %s sees no CUDA device' % torch.__version__
    except ImportError:
        reason = 'this Python has no PyTorch'
    if reason:
        print('not compared: %s' % reason)
        return 0
    print('%s, PyTorch %s, %s, compile: %s' % (torch.cuda.get_device_name(0), torch.__version__, a.precision, a.compile))
    failed = 0
    for name in a.models.split(','):
        try:
            peer = Peer(name, a.precision, a.compile)
            pairs = [(ours(a.build, name, a.precision, a.seconds), peer.speed(a.seconds)) for _ in range(a.rounds)]
        except Exception as e:  # of a compiler, a library, a program: the next network has its turn
            print('%-14s failed: %s' % (name, str(e).strip().splitlines()[-1:] or type(e).__name__))
            failed = 1
            continue
        ratios = sorted(o / t for o, t in pairs)
        print('%-14s ours %9.0f images/s, PyTorch %9.0f, ratio %.2f (%.2f to %.2f)' % (
            name, statistics.median(o for o, _ in pairs), statistics.median(t for _, t in pairs), statistics.median(ratios), ratios[0], ratios[-1]))
        del peer
        torch.cuda.empty_cache()
    return failed


if __name__ == '__main__':
    sys.exit(main())
