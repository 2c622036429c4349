#!/usr/bin/env python3
"""The recipe of configs/cifar10/resnet20-short.yaml in PyTorch, for comparison.

usage: peer_resnet20.py CIFAR_FOLDER [--epochs 30] [--seed 1]

Same network (projection shortcuts, weights by He, no decay on biases and BatchNorm), same data order policy (a new
permutation each epoch, last short batch kept), same augmentation (crop 4 with black
padding, mirror), SGD with Nesterov momentum 0.9, decay 5e-4, one-cycle rate to 0.2 over a fifth of the run.
"""
import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

p = argparse.ArgumentParser()
p.add_argument("folder")
p.add_argument("--epochs", type=int, default=30)
p.add_argument("--seed", type=int, default=1)
a = p.parse_args()
torch.manual_seed(a.seed)


def read(names):
    raw = np.concatenate([np.fromfile(f"{a.folder}/{n}.bin", np.uint8).reshape(-1, 3073) for n in names])
    return torch.from_numpy(raw[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(raw[:, 0].astype(np.int64))



class Block(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o)
        self.c2, self.b2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.short = nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o)) if s > 1 or i != o else nn.Identity()

    def forward(self, x):
        return F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))) + self.short(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        layers, i = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
        for stage, o in enumerate((16, 32, 64)):
            for k in range(3):
                layers.append(Block(i, o, 2 if stage and k == 0 else 1))
                i = o
        self.body, self.head = nn.Sequential(*layers), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def augment(x):
    n = len(x)
    x = F.pad(x, (4, 4, 4, 4))
    dy, dx, flip = torch.randint(0, 9, (n,)), torch.randint(0, 9, (n,)), torch.rand(n) < 0.5
    out = torch.empty(n, 3, 32, 32, dtype=x.dtype)
    for k in range(n):
        c = x[k, :, dy[k]:dy[k] + 32, dx[k]:dx[k] + 32]
        out[k] = c.flip(2) if flip[k] else c
    return out


def normal(x):
    return ((x.float() - 121) * 0.0156).contiguous(memory_format=torch.channels_last)


X, Y = read([f"data_batch_{k}" for k in range(1, 6)])
XT, YT = read(["test_batch"])
net = Net().to(memory_format=torch.channels_last)
for m in net.modules():
    if isinstance(m, nn.Conv2d):
        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
decay = [q for q in net.parameters() if q.dim() > 1]
plain = [q for q in net.parameters() if q.dim() <= 1]
opt = torch.optim.SGD([{"params": decay, "weight_decay": 5e-4}, {"params": plain}], lr=0.2, momentum=0.9, nesterov=True)
steps = (len(X) + 127) // 128
sched = torch.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=steps * a.epochs, pct_start=0.2, cycle_momentum=False)
for e in range(a.epochs):
    net.train()
    order, total, start = torch.randperm(len(X)), 0.0, time.time()
    for k in range(0, len(X), 128):
        i = order[k:k + 128]
        loss = F.cross_entropy(net(normal(augment(X[i]))), Y[i])
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        total += loss.item() * len(i)
    seconds = time.time() - start
    net.eval()
    with torch.no_grad():
        hits = sum((net(normal(XT[k:k + 500])).argmax(1) == YT[k:k + 500]).sum().item() for k in range(0, len(XT), 500))
    print(f"epoch {e + 1}/{a.epochs}  loss {total / len(X):.4f}  test {hits / len(XT) * 100:.2f} %  "
          f"{len(X) / seconds:.0f} images/s", flush=True)
