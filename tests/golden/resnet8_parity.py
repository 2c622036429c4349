#!/usr/bin/env python3
"""Generator of tests/golden/resnet8_parity.h: losses of 20 training steps of ResNet-8 in PyTorch.

Made with torch 1.13.1 (Debian 12, CPU, one thread). Initial weights and batches are functions of a counter-based
generator (Philox4x32-10, core/base/random.h), so both sides make them for themselves and only losses are stored.

    python3 tests/golden/resnet8_parity.py > tests/golden/resnet8_parity.h
"""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
SEED, BATCH, STEPS = 3, 8, 20


def philox(e, purpose, epoch, index):
    """Word e of each stream; e is an array of element numbers."""
    e = np.asarray(e, dtype=np.uint64)
    c = [e // 4, np.full_like(e, epoch), np.full_like(e, index & 0xFFFFFFFF), np.full_like(e, index >> 32)]
    k = [SEED & 0xFFFFFFFF, (SEED >> 32) ^ (purpose << 24)]
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p1 & mask,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c)


def words(n, purpose, epoch, index):
    e = np.arange(n)
    return philox(e, purpose, epoch, index)[e % 4, e]


def normal(n, index):
    e = np.arange(n)
    w = philox(e, 1, 0, index)
    pair = (e % 4) & ~1
    u = (w[pair, e].astype(np.float64) + 1.0) / 4294967296.0
    v = w[pair + 1, e].astype(np.float64) * (6.283185307179586 / 4294967296.0)
    r = np.sqrt(-2.0 * np.log(u))
    return np.where(e & 1, r * np.sin(v), r * np.cos(v)).astype(np.float32)


draws = 0


def conv(cin, cout, k, stride=1):
    global draws
    m = nn.Conv2d(cin, cout, k, stride, k // 2, bias=False)
    dev = np.sqrt(2.0 / (cout * k * k))
    w = (dev * normal(m.weight.numel(), draws).astype(np.float64)).astype(np.float32)
    draws += 1
    m.weight.data = torch.from_numpy(w).reshape(m.weight.shape)
    return m


class Block(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.c1, self.b1 = conv(cin, cout, 3, stride), nn.BatchNorm2d(cout)
        self.c2, self.b2 = conv(cout, cout, 3), nn.BatchNorm2d(cout)
        self.skip = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout)) if stride != 1 or cin != cout else None

    def forward(self, x):
        y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
        return F.relu(y + (self.skip(x) if self.skip else x))


class ResNet8(nn.Module):
    def __init__(self):
        global draws
        super().__init__()
        draws = 0
        self.stem, self.bn = conv(3, 16, 3), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)
        u = (words(640, 1, 0, draws) >> np.uint64(8)).astype(np.float32) * np.float32(1.0 / 16777216.0)
        self.head.weight.data = torch.from_numpy(((1 / np.sqrt(64.0)) * (2 * u - 1).astype(np.float64)).astype(np.float32)).reshape(10, 64)
        self.head.bias.data.zero_()

    def forward(self, x):
        x = (x - 127.5) * 0.0157
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.head(x.mean((2, 3)))


def batch(step):
    x = np.stack([(words(3072, 8, step, n) * np.uint64(256)) >> np.uint64(32) for n in range(BATCH)])
    y = np.array([int((words(1, 8, 1000 + step, n)[0] * np.uint64(10)) >> np.uint64(32)) for n in range(BATCH)])
    return torch.from_numpy(x.astype(np.float32)).reshape(BATCH, 3, 32, 32), torch.from_numpy(y)


def run(make):
    model = ResNet8()
    opt = make(model.parameters())
    losses = []
    for step in range(STEPS):
        x, y = batch(step)
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    print("/* tests/golden/resnet8_parity.h - made by resnet8_parity.py with torch %s; do not edit. */" % torch.__version__.split("+")[0])
    for name, make in (("sgd", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)), ("adam", lambda p: torch.optim.Adam(p, lr=0.001))):
        print("static const double golden_%s[] = {" % name)
        for v in run(make):
            print("    %.9g," % v)
        print("};")
