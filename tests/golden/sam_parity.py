#!/usr/bin/env python3
"""Generator of tests/golden/sam_parity.h: 5 sharpness-aware steps of ResNet-8 in PyTorch.

Made with torch 1.13.1 (Debian 12, CPU, one thread). The optimizer is written here after Foret et al. 2021
(arXiv:2010.01412, algorithm 1) and Kwon et al. 2021 (arXiv:2102.11600, equation 7, T = |w|): the gradient of the loss
alone decides where to climb, weight decay belongs to the step, and BatchNorm counts the first pass alone (momentum 0
in the second, as the usual implementations have it). Weights and the batch are those of resnet8_parity.py; all steps
have the same batch, so that the order in which samples are drawn does not matter.

    python3 tests/golden/sam_parity.py > tests/golden/sam_parity.h
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

from resnet8_parity import ResNet8, batch

STEPS = 5


def climb(params, rho, adaptive):
    size = [p.detach().abs() if adaptive else torch.ones_like(p) for p in params]
    norm = torch.sqrt(sum((s * p.grad).double().pow(2).sum() for s, p in zip(size, params)))
    for s, p in zip(size, params):
        p.data.add_((s * s * p.grad) * float(rho / (norm + 1e-12)))


def counts(model, on):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.1 if on else 0.0


def run(rho, adaptive, clip):
    model = ResNet8()
    params = list(model.parameters())
    groups = [{"params": [p for p in params if p.dim() > 1], "weight_decay": 5e-3},
              {"params": [p for p in params if p.dim() == 1], "weight_decay": 0.0}]
    opt = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    losses = []
    x, y = batch(0)
    for _ in range(STEPS):
        opt.zero_grad()
        counts(model, True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        if rho:
            kept = [p.detach().clone() for p in params]
            climb(params, rho, adaptive)
            opt.zero_grad()
            counts(model, False)
            F.cross_entropy(model(x), y).backward()
            for p, w in zip(params, kept):
                p.data.copy_(w)
        torch.nn.utils.clip_grad_norm_(params, clip)
        opt.step()
    return losses, model


def show(name, values):
    print("static const double %s[] = {" % name)
    for v in values:
        print("    %.9g," % v)
    print("};")


print("/* tests/golden/sam_parity.h - made by sam_parity.py with torch %s; do not edit. */" % torch.__version__.split("+")[0])
for name, rho, adaptive in (("none", 0.0, False), ("sam", 0.1, False), ("asam", 1.0, True)):
    losses, model = run(rho, adaptive, 2.0)
    show("golden_%s_losses" % name, losses)
    show("golden_%s_means" % name, model.bn.running_mean.tolist())
    show("golden_%s_head" % name, model.head.weight.detach().reshape(-1)[:16].tolist())
