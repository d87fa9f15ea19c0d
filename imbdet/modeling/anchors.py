"""The anchor grid: fixed boxes at every cell of every level, in detectron2's order (row, column, size, ratio).

Letters: A anchors of one image over all levels, L levels.
"""

import math

import torch
from torch import Tensor, nn


class AnchorGrid(nn.Module):
    """Anchors of all levels as one (A, 4) tensor, cached by feature size.

    Args:
        sizes: per level a list of square roots of areas, pixels.
        ratios: height / width.
        offset: position of the first center in units of the stride (detectron2: 0, torchvision: 0 too).
    """

    def __init__(self, sizes, ratios=(0.5, 1.0, 2.0), offset: float = 0.0):
        super().__init__()
        sizes = [list(s) if hasattr(s, "__iter__") else [s] for s in sizes]
        if len({len(s) for s in sizes}) != 1:
            raise ValueError(f"all levels need the same number of anchor sizes, got {[len(s) for s in sizes]}")
        self.strides: tuple[int, ...] = ()
        self.offset = offset
        self.cells = [_cell_anchors(s, ratios) for s in sizes]
        self.per_cell = len(self.cells[0])
        self._cache: dict = {}

    def build(self, strides: dict[str, int]) -> None:
        """Take the strides of the neck's levels, finest first."""
        if len(self.cells) != len(strides):
            raise ValueError(
                f"anchors have sizes for {len(self.cells)} levels, the neck has {len(strides)}: {list(strides)}"
            )
        self.strides = tuple(strides.values())

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map feature maps of L levels -> anchors (A, 4) XYXY and their level (A,)."""
        if len(features) != len(self.strides):
            raise ValueError(f"anchors are made for {len(self.strides)} levels, got {len(features)} feature maps")
        key = (features[0].device, *(tuple(f.shape[-2:]) for f in features))
        if key not in self._cache:
            if len(self._cache) > 64:  # multi-scale training meets many sizes; keep the memory bounded
                self._cache.clear()
            with torch.inference_mode(False):  # a cache filled at test must serve training too
                self._cache[key] = self._build(features)
        return self._cache[key]

    def _build(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        boxes, levels = [], []
        for level, (feature, stride, cell) in enumerate(zip(features, self.strides, self.cells, strict=True)):
            height, width = feature.shape[-2:]
            xs = (torch.arange(width, dtype=torch.float32) + self.offset) * stride
            ys = (torch.arange(height, dtype=torch.float32) + self.offset) * stride
            y, x = torch.meshgrid(ys, xs, indexing="ij")
            centers = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
            boxes.append((centers + cell).reshape(-1, 4))
            levels.append(torch.full((boxes[-1].shape[0],), level))
        device = features[0].device
        return torch.cat(boxes).to(device), torch.cat(levels).to(device)


def _cell_anchors(sizes, ratios) -> Tensor:
    rows = []
    for size in sizes:
        for ratio in ratios:
            width = math.sqrt(size**2 / ratio)
            height = ratio * width
            rows.append((-width / 2, -height / 2, width / 2, height / 2))
    return torch.tensor(rows)


def flatten_levels(maps: list[Tensor], values: int) -> Tensor:
    """Map head outputs [(N, cells*values, H, W)] -> (N, A, values), in the order of the anchors."""
    rows = []
    for x in maps:
        n, _, h, w = x.shape
        rows.append(x.view(n, -1, values, h, w).permute(0, 3, 4, 1, 2).reshape(n, -1, values))
    return torch.cat(rows, dim=1)
