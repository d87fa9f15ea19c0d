"""RoIAlign on a pyramid: each region is pooled from the level that its size asks for (Lin et al., 2017, equation 1).

Letters: N images, R regions, L levels, S side of the pooled square.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from .boxes import area


class MultiLevelRoIAlign(nn.Module):
    """Pooled features (R, C, S, S) of regions in any images and levels, with one wait for the device (the regions a level).

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
        """boxes (R, 4) -> index of the level (R,) in 0..L-1."""
        level = torch.floor(self.canonical_level + torch.log2(area(boxes).clamp(min=0).sqrt() / self.canonical_size + 1e-8))
        return (level.clamp(min=self.lowest, max=self.lowest + len(self.levels) - 1) - self.lowest).long()

    def forward(self, features: dict[str, Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        """Maps (N, C, H, W) by level, boxes (R, 4), images (R,) -> (R, C, S, S)."""
        regions = torch.cat((images.unsqueeze(1).to(boxes.dtype), boxes), dim=1)
        maps = [features[level] for level in self.levels]
        if len(maps) == 1:
            return self._align(maps[0], regions, self.scales[0])
        level, order = self.assign(boxes).sort(stable=True)
        counts = (level.unsqueeze(1) == torch.arange(len(maps), device=level.device)).sum(dim=0).tolist()
        parts = regions[order].split(counts)
        pooled = torch.cat([self._align(m, p, s) for m, p, s in zip(maps, parts, self.scales, strict=True)])
        return pooled[order.argsort()]

    def _align(self, feature: Tensor, regions: Tensor, scale: float) -> Tensor:
        # in the map's own precision under autocast
        return roi_align(feature, regions.to(feature.dtype), self.size, scale, self.sampling_ratio, aligned=True)
