"""Feature pyramid network (Lin et al., 2017, arXiv 1612.03144), with detectron2's names.

A neck has `channels` (the same for all levels) and, once built on a backbone, `strides` {level: stride}, finest level
first.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..slots import Neck


class FPN(nn.Module, Neck):
    """Slot `neck`: {c2: ..., c5: ...} -> {p2: ..., p6: ...}.

    Args:
        channels: of every output level.
        extra: levels above the coarsest: "pool" (one, Faster R-CNN's p6), "convs" (two, RetinaNet's p6 and p7), ""
        (none).
        levels: which of the backbone's levels to use; all by default.
    """

    def __init__(self, channels: int = 256, extra: str = "pool", levels=None):
        super().__init__()
        if extra not in ("pool", "convs", ""):
            raise ValueError(f"extra must be 'pool', 'convs' or '', got {extra!r}")
        self.channels = channels
        self.extra = extra
        self.inputs = tuple(levels or ())
        self.strides: dict[str, int] = {}

    def build(self, backbone: Any) -> None:
        """Make the layers that fit the backbone's levels and channels."""
        channels, extra = self.channels, self.extra
        self.inputs = self.inputs or tuple(backbone.channels)
        unknown = [level for level in self.inputs if level not in backbone.channels]
        if unknown:
            raise ValueError(f"neck asks for {unknown}, the backbone has {list(backbone.channels)}")
        self.strides = {level.replace("c", "p"): backbone.strides[level] for level in self.inputs}
        for level in self.inputs:
            number = level[1:]
            self.add_module(f"fpn_lateral{number}", _conv(backbone.channels[level], channels, 1))
            self.add_module(f"fpn_output{number}", _conv(channels, channels, 3))
        top, stride = int(self.inputs[-1][1:]), self.strides[self.inputs[-1].replace("c", "p")]
        if extra == "convs":
            self.top_block = nn.ModuleDict(
                {
                    f"p{top + 1}": _conv(backbone.channels[self.inputs[-1]], channels, 3, 2),
                    f"p{top + 2}": _conv(channels, channels, 3, 2),
                }
            )
        for i in range({"pool": 1, "convs": 2, "": 0}[extra]):
            self.strides[f"p{top + 1 + i}"] = stride * 2 ** (i + 1)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        above = None
        for level in reversed(self.inputs):
            x = self.get_submodule(f"fpn_lateral{level[1:]}")(features[level])
            if above is not None:
                x = x + F.interpolate(above, size=x.shape[-2:], mode="nearest")
            above = x
            out[level.replace("c", "p")] = self.get_submodule(f"fpn_output{level[1:]}")(x)
        out = dict(reversed(out.items()))
        top = int(self.inputs[-1][1:])
        if self.extra == "pool":
            out[f"p{top + 1}"] = F.max_pool2d(out[f"p{top}"], kernel_size=1, stride=2)
        elif self.extra == "convs":
            first, second = self.top_block.values()
            out[f"p{top + 1}"] = first(features[self.inputs[-1]])
            out[f"p{top + 2}"] = second(F.relu(out[f"p{top + 1}"]))
        return out


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    conv.bias = nn.Parameter(torch.zeros(outputs))
    return conv
