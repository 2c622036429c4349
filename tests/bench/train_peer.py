#!/usr/bin/python3
"""tests/bench/train_peer.py - training steps of the same networks, ours and PyTorch's, in turns.

    train_peer.py BUILD [--models resnet8,resnet20,lenet5,mobilenet_v2,resnet18_224] [--rounds 5] [--seconds 2] [--threads 2]
                        [--precision f32|bf16]

BUILD: build folder with tests/bench_train_peer. Each round runs one after the other for some seconds and gives one ratio of
images a second; printed are the median ratio and the smallest and largest. PyTorch: channels_last, tuned by the environment
(AVX-512 kernels that Debian's build leaves off, memory that is not given back); with bf16 its best of autocast; LMB_PEER_PYTHON names the interpreter of
a virtual environment with a newer one, LMB_PEER_COMPILE=1 adds torch.compile.
"""
import argparse, os, statistics, subprocess, sys

from peer_blocks import inverted

MODELS = {  # our model section, sample shape, batch
    'resnet8': ('{name: resnet, depth: 8}', (3, 32, 32), 128),
    'resnet20': ('{name: resnet, depth: 20}', (3, 32, 32), 128),
    'lenet5': ('{name: lenet}', (1, 28, 28), 64),
    'mobilenet_v2': ('{name: mobilenet_v2, width: 0.5}', (3, 32, 32), 128),
    'resnet18_224': ('{name: resnet_imagenet, depth: 18}', (3, 224, 224), 16),
}
TUNED = {'ATEN_CPU_CAPABILITY': 'avx512', 'OPENBLAS_NUM_THREADS': '1', 'OPENBLAS_CORETYPE': 'SKYLAKEX',
         'MALLOC_MMAP_THRESHOLD_': '4000000000', 'MALLOC_TRIM_THRESHOLD_': '8000000000'}


def network(name):
    """The networks of train/zoo.c."""
    import torch.nn as nn
    import torch.nn.functional as F

    def conv_norm(i, o, k, stride=1, groups=1, act=None):
        layers = [nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o)]
        return nn.Sequential(*layers, *([act(inplace=True)] if act else []))

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.a, self.b = conv_norm(i, o, 3, stride, act=nn.ReLU), conv_norm(o, o, 3)
            self.skip = conv_norm(i, o, 1, stride) if stride != 1 or i != o else nn.Identity()

        def forward(self, x):
            return F.relu(self.b(self.a(x)) + self.skip(x))

    Inverted = inverted(conv_norm)

    def head(i):
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, 10)]

    if name == 'resnet18_224':
        layers, i = [conv_norm(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)], 64
        for stage in range(4):
            for k in range(2):
                layers.append(Block(i, 64 << stage, 2 if stage and not k else 1))
                i = 64 << stage
        return nn.Sequential(*layers, *head(512))
    if name.startswith('resnet'):
        n, layers, i = (int(name[6:]) - 2) // 6, [conv_norm(3, 16, 3, act=nn.ReLU)], 16
        for stage in range(3):
            for k in range(n):
                layers.append(Block(i, 16 << stage, 2 if stage and not k else 1))
                i = 16 << stage
        return nn.Sequential(*layers, *head(64))
    if name == 'lenet5':
        return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(),
                             nn.MaxPool2d(2), nn.Flatten(), nn.Linear(784, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                             nn.Linear(84, 10))
    half = lambda c: max(8, int(c * 0.5 + 4) // 8 * 8)
    i, layers = half(32), [conv_norm(3, half(32), 3, act=nn.ReLU6)]
    for expand, o, count, stride in ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                                     (6, 320, 1, 1)):
        for k in range(count):
            layers.append(Inverted(i, half(o), 1 if k else stride, expand))
            i = half(o)
    return nn.Sequential(*layers, conv_norm(i, 1280, 1, act=nn.ReLU6), *head(1280))


def torch_worker(name, seconds, threads, precision):
    """Forward, loss, backward, SGD with momentum on one batch that stays; prints images a second."""
    import contextlib, time
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    _, shape, batch = MODELS[name]
    net = network(name).to(memory_format=torch.channels_last)
    if os.environ.get('LMB_PEER_COMPILE'):
        net = torch.compile(net)
    x = torch.rand(batch, *shape).to(memory_format=torch.channels_last)
    y = torch.arange(batch) % 10
    step = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()

    def once():
        step.zero_grad(set_to_none=True)
        with torch.autocast('cpu', torch.bfloat16) if precision == 'bf16' else contextlib.nullcontext():
            error = loss(net(x), y)
        error.backward()
        step.step()
    for _ in range(3):  # compiles, and settles on its kernels
        once()
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        once()
    n, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        once()
        n += 1
    print('%.1f' % (n * batch / (time.perf_counter() - start)))


def peer(name, seconds, threads, precision='f32'):
    """The command of PyTorch's side."""
    python = os.environ.get('LMB_PEER_PYTHON', '/usr/bin/python3')
    return [python, os.path.abspath(__file__), '--worker', name, str(seconds), str(threads), precision]


def ours(build, name, seconds, threads, precision='f32'):
    section, shape, batch = MODELS[name]
    return [os.path.join(build, 'tests/bench_train_peer'), section, *map(str, shape), str(batch), str(threads), str(seconds), precision]


def output(command, env=None):
    run = subprocess.run(command, stdout=subprocess.PIPE, env=dict(os.environ, **(env or {})), check=True)
    return float(run.stdout.split()[-1])


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('--models', default=','.join(MODELS))
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--seconds', type=float, default=2)
    p.add_argument('--threads', type=int, default=2)
    p.add_argument('--precision', default='f32', choices=['f32', 'bf16'])
    a = p.parse_args()
    print('%-14s %10s %10s   ratio' % ('model', 'ours', 'PyTorch'))
    for name in a.models.split(','):
        mine, theirs = [], []
        for _ in range(a.rounds):
            mine.append(output(ours(a.build, name, a.seconds, a.threads, a.precision)))
            theirs.append(output(peer(name, a.seconds, a.threads, a.precision), TUNED))
        ratios = [o / t for o, t in zip(mine, theirs)]
        print('%-14s %10.0f %10.0f   %.2f  (%.2f to %.2f)' % (name, statistics.median(mine), statistics.median(theirs),
                                                              statistics.median(ratios), min(ratios), max(ratios)), flush=True)


if __name__ == '__main__':
    if len(sys.argv) == 6 and sys.argv[1] == '--worker':
        torch_worker(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        main()
