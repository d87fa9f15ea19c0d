"""Balanced feature pyramid: all levels are averaged, refined together, and the result is added to each.

Letters: N images, C channels, L levels, H x W cells of the level at which they meet.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.necks import FPN


class BalancedFeaturePyramid(FPN):
    """An FPN whose levels exchange what they know: none is served by its neighbors only.

    Slot: neck
    Imbalance: scale
    Home: either
    Source: Pang, Chen, Shi, Feng, Ouyang, Lin, 2019, arXiv 1904.02701, section 3.2, equations 4 and 5
    Neutral: BalancedFeaturePyramid(strength=0), which is the FPN
    Differs: nothing; `strength` is a setting of ours for comparisons

    With P_l the levels of the FPN and `to` the resizing to another level's size (maximum pooling to a coarser one,
    nearest neighbor to a finer one):

        B = refine(mean over l of to_r(P_l)),    Q_l = P_l + strength to_l(B)

    `refine` is an embedded Gaussian non-local block, x + W softmax(theta(x) phi(x)) g(x) over all H W cells. As in the
    authors' code all four convolutions start with Xavier's values, W too, so that theta, phi and g learn from the first
    step on; a non-local block of its own begins with W = 0.

    Args:
        channels, extra, levels: as in FPN.
        refine_level: r, the index of the level at which they meet: 2 in the paper for p2 to p6, 1 for p3 to p7.
        strength: of what is added.

    Example:
        >>> from imbdet.remedies.scale.balanced_feature_pyramid import BalancedFeaturePyramid
        >>> BalancedFeaturePyramid(channels=64).refine_level
        2
    """

    def __init__(
        self, channels: int = 256, extra: str = "pool", levels=None, refine_level: int = 2, strength: float = 1.0
    ):
        super().__init__(channels, extra, levels)
        self.refine_level = refine_level
        self.strength = strength

    def build(self, backbone: Any) -> None:
        super().build(backbone)
        if not 0 <= self.refine_level < len(self.strides):
            raise ValueError(f"refine_level must be in 0..{len(self.strides) - 1}, got {self.refine_level}")
        self.refine = NonLocal(self.channels)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        out = super().forward(features)
        maps, r = list(out.values()), self.refine_level
        meeting = maps[r].shape[-2:]
        together: Any = sum(_resize(x, meeting, coarser=i <= r) for i, x in enumerate(maps)) / len(maps)
        together = self.strength * self.refine(together)
        return {name: x + _resize(together, x.shape[-2:], coarser=i >= r) for i, (name, x) in enumerate(out.items())}


class NonLocal(nn.Module):
    """Every cell looks at every other: x (N, C, H, W) -> the same shape.

    Wang, Girshick, Gupta, He, 2018, arXiv 1711.07971, embedded Gaussian form, all C channels, no scaling.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.theta, self.phi, self.g, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        for layer in (self.theta, self.phi, self.g, self.out):
            nn.init.xavier_uniform_(layer.weight)
            layer.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = (layer(x).flatten(2).transpose(1, 2) for layer in (self.theta, self.phi, self.g))
        attention = torch.softmax(theta @ phi.transpose(1, 2), dim=-1)  # (N, HW, HW)
        return x + self.out((attention @ g).transpose(1, 2).reshape(x.shape))


def _resize(x: Tensor, size: Any, coarser: bool) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return F.adaptive_max_pool2d(x, size) if coarser else F.interpolate(x, size=size, mode="nearest")
