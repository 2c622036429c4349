"""tests/bench/peer_blocks.py - blocks that PyTorch's networks of train_peer.py and train_peer_gpu.py share."""


def inverted(conv_norm):
    """MobileNetV2's block of train/zoo*.c; conv_norm(i, o, k, stride, groups, act) is a convolution with BatchNorm2d."""
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
