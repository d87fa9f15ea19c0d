"""RoIAlign on a pyramid: each region is pooled from the level that its size asks for (Lin et al., 2017, equation 1).

Letters: N images, R regions, L levels, S side of the pooled square.
"""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from .boxes import area


class MultiLevelRoIAlign(nn.Module):
    """Pooled features (R, C, S, S) of regions in any images and levels, with one wait for the device (the regions a
    level).

    Args:
        levels: of the neck, to pool from, finest first.
        size: S. sampling_ratio: samples a bin and axis; 0 takes as many as the bin has pixels (detectron2's default).
        canonical_size, canonical_level: a region of `canonical_size` pixels is pooled from the level of stride
            2 ** canonical_level (detectron2: 224 and 4).
    """

    def __init__(
        self,
        levels=("p2", "p3", "p4", "p5"),
        size: int = 7,
        sampling_ratio: int = 0,
        canonical_size: float = 224,
        canonical_level: int = 4,
    ):
        super().__init__()
        self.levels = tuple(levels)
        self.scales: list[float] = []
        self.lowest = int(self.levels[0][1:])
        self.size = size
        self.sampling_ratio = sampling_ratio
        self.canonical_size = canonical_size
        self.canonical_level = canonical_level

    def build(self, strides: dict[str, int]) -> None:
        """Take the strides of the neck's levels."""
        unknown = [level for level in self.levels if level not in strides]
        if unknown:
            raise ValueError(f"the pooler asks for the levels {unknown}, the neck has {list(strides)}")
        self.scales = [1.0 / strides[level] for level in self.levels]

    def assign(self, boxes: Tensor) -> Tensor:
        """Map boxes (R, 4) -> index of the level (R,) in 0..L-1."""
        level = torch.floor(
            self.canonical_level + torch.log2(area(boxes).clamp(min=0).sqrt() / self.canonical_size + 1e-8)
        )
        return (level.clamp(min=self.lowest, max=self.lowest + len(self.levels) - 1) - self.lowest).long()

    def forward(self, features: dict[str, Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        """Map maps (N, C, H, W) by level, boxes (R, 4), images (R,) -> (R, C, S, S)."""
        regions = torch.cat((images.unsqueeze(1).to(boxes.dtype), boxes), dim=1)
        maps = [features[level] for level in self.levels]
        if len(maps) == 1:
            return self._align(maps[0], regions, self.scales[0])
        level, order = self.assign(boxes).sort(stable=True)
        counts = (level.unsqueeze(1) == torch.arange(len(maps), device=level.device)).sum(dim=0).tolist()
        pooled = maps[0].new_empty(len(boxes), maps[0].shape[1], self.size, self.size)
        for feature, rows, scale in zip(maps, order.split(counts), self.scales, strict=True):
            pooled.index_copy_(0, rows, self._align(feature, regions[rows], scale))
        return pooled

    def _align(self, feature: Tensor, regions: Tensor, scale: float) -> Tensor:
        # in float32 under autocast, too: in bfloat16 a corner at 800 px moves by up to 2 px, and a CPU has no backward
        wide = feature.to(torch.promote_types(feature.dtype, torch.float32))
        regions = regions.to(wide.dtype)
        learns = torch.is_grad_enabled() and wide.requires_grad
        if learns and wide.device.type == "cpu" and torch.get_num_threads() > 1:
            pooled = _ThreadedRoIAlign.apply(wide, regions, self.size, scale, self.sampling_ratio)
        else:
            pooled = roi_align(wide, regions, self.size, scale, self.sampling_ratio, aligned=True)
        return pooled.to(feature.dtype)


class _ThreadedRoIAlign(torch.autograd.Function):
    """torchvision's kernel with its backward, a quarter of a training step on one core, on all cores of a CPU.

    It is shared out by channels, so that no two threads write to one place and the result does not depend on their
    number. The forward is ten times cheaper and stays as it is.
    """

    @staticmethod
    def forward(ctx, feature, regions, size, scale, ratio):
        ctx.save_for_backward(regions)
        ctx.settings = (feature.shape, size, scale, ratio)
        return roi_align(feature, regions, size, scale, ratio, aligned=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (regions,) = ctx.saved_tensors
        (n, _, h, w), size, scale, ratio = ctx.settings

        def part(g: Tensor) -> Tensor:
            return torch.ops.torchvision._roi_align_backward(
                g.contiguous(), regions, scale, size, size, n, g.shape[1], h, w, ratio, True
            )

        parts = gradient.chunk(torch.get_num_threads(), dim=1)
        return torch.cat(_on_threads(part, parts), dim=1), None, None, None, None


def _on_threads(work, parts) -> list[Tensor]:
    def quiet(part):
        with torch.no_grad():  # a thread starts with gradients on
            return work(part)

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(quiet, parts))
