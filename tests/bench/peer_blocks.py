"""tests/bench/peer_blocks.py - PyTorch's networks of train_peer_gpu.py, and a block that train_peer.py has, too."""
CLASSES = 10


def inverted(conv_norm):
    """MobileNetV2's block of train/zoo*.c; conv_norm(i, o, k, stride, groups, act): a convolution, BatchNorm2d."""
    import torch.nn as nn

    class Inverted(nn.Module):
        def __init__(self, i, o, stride, expand):
            super().__init__()
            wide = i * expand
            self.layers = nn.Sequential(*([conv_norm(i, wide, 1, act=nn.ReLU6)] if expand != 1 else []),
                                        conv_norm(wide, wide, 3, stride, wide, act=nn.ReLU6), conv_norm(wide, o, 1))
            self.add = stride == 1 and i == o

        def forward(self, x):
            return x + self.layers(x) if self.add else self.layers(x)

    return Inverted


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
        layers = [conv_norm(i, width, 3, stride, act=nn.ReLU), conv_norm(width, width, 3)]
        return Residual(i, width, stride, layers), width

    def bottleneck(i, width, stride):
        layers = [conv_norm(i, width, 1, act=nn.ReLU), conv_norm(width, width, 3, stride, act=nn.ReLU),
                  conv_norm(width, 4 * width, 1)]
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
    elif name == 'resnet20':
        layers = [conv_norm(3, 16, 3, act=nn.ReLU)]
        i = stages(layers, 16, plain, [(16, 3, 1), (32, 3, 2), (64, 3, 2)])
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
        for expand, o, count, stride in [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                         (6, 160, 3, 2), (6, 320, 1, 1)]:
            for k in range(count):
                layers.append(Inverted(i, o, 1 if k else stride, expand))
                i = o
        layers.append(conv_norm(i, 1280, 1, act=nn.ReLU6))
        i = 1280
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(i, CLASSES))
