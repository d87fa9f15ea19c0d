"""Path aggregation: after the FPN's way down, a way up, so that coarse levels hear of the fine ones directly.

Letters: N images, C channels, L levels.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.necks import FPN, _conv


class PAFPN(FPN):
    """An FPN with a bottom-up path behind it.

    Slot: neck
    Imbalance: scale
    Home: either
    Source: Liu, Qi, Qin, Shi, Jia, 2018, arXiv 1803.01534, section 3.1; without activations, as mmdetection has it
    Neutral: none, as its convolutions stand in the way; with those of the path 0 and the outer ones the identity it is
        the FPN
    Differs: the paper's adaptive feature pooling and fully-connected fusion are not part of it; the paper has a ReLU
        after each convolution

    With P_l the levels of the FPN, l = 1 the finest, 3x3 convolutions `down` of stride 2 and `out`:

        N_1 = P_1,    N_{l+1} = P_{l+1} + down_l(N_l),    Q_1 = N_1, Q_l = out_l(N_l)

    Levels above the backbone's are made as in the FPN, a pooled one of the new top.

    Args:
        channels, extra, levels: as in FPN.

    Example:
        >>> PAFPN(channels=64).channels
        64
    """

    def build(self, backbone: nn.Module) -> None:
        super().build(backbone)
        count = len(self.inputs) - 1
        self.down = nn.ModuleList(_conv(self.channels, self.channels, 3, 2) for _ in range(count))
        self.out = nn.ModuleList(_conv(self.channels, self.channels, 3) for _ in range(count))

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        maps = super().forward(features)
        names = [level.replace("c", "p") for level in self.inputs]
        below = maps[names[0]]
        for name, down, out in zip(names[1:], self.down, self.out, strict=True):
            # a level is half the one below, rounded either way: cut or filled to its size
            height, width = maps[name].shape[-2:]
            step = down(below)
            step = F.pad(step, (0, width - step.shape[-1], 0, height - step.shape[-2]))
            below = maps[name] + step
            maps[name] = out(below)
        if self.extra == "pool":
            top = int(self.inputs[-1][1:])
            maps[f"p{top + 1}"] = F.max_pool2d(maps[f"p{top}"], kernel_size=1, stride=2)
        return maps
