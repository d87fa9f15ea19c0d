"""Parts of a picture that are looked at one by one, for objects that are small in a large picture.

Letters: T tiles of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from imbdet.data.augment import resize as resized


class Tiles:
    """Where the tiles of a picture lie: a grid that covers it, and the picture as a whole.

    The form of SAHI (Akyon et al. 2022, arXiv 2202.06934), whose size and overlap are the defaults. There the last tile
    of a row is pushed back into the picture; here all are evenly apart, so that they overlap by `overlap` or more.

    Args:
        size: side of a tile: pixels of the picture, or, up to 1, a share of its width and of its height.
        overlap: share of a tile that it has in common with the next one at least, 0..1 exclusive.
        whole: the picture as a whole is a tile, too, for objects that are larger than the others.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> Tiles(size=60, overlap=0.2, whole=False).windows(60, 100).tolist()
        [[0, 0, 60, 60], [40, 0, 100, 60]]
    """

    def __init__(self, size: float = 512, overlap: float = 0.2, whole: bool = True):
        if not 0 < size < math.inf or not 0 <= overlap < 1:
            raise ValueError(
                f"tiles of size {size:g} with overlap {overlap:g}: expected a size above 0 (pixels, up to 1 a share "
                "of the picture) and an overlap in 0..1 exclusive"
            )
        self.size, self.overlap, self.whole = size, overlap, whole

    def windows(self, height: int, width: int) -> np.ndarray:
        """Return int64 (T, 4) XYXY: the whole picture if it is wanted or one tile covers it, then the grid by rows."""
        (top, down), (left, right) = (self._along(side) for side in (height, width))
        grid = [[x, y, x + right, y + down] for y in top for x in left]
        everything = [0, 0, width, height]
        if self.whole and grid != [everything]:
            grid.insert(0, everything)
        return np.array(grid, dtype=np.int64)

    def _along(self, side: int) -> tuple[list[int], int]:
        """Where the tiles begin along one side, and how long they are."""
        length = min(max(round(self.size if self.size > 1 else self.size * side), 1), side)
        shared = self.overlap * length
        count = math.ceil((side - shared) / (length - shared) - 1e-9)
        return np.linspace(0, side - length, max(count, 1)).round().astype(int).tolist(), length


def part_of(image: Tensor, window: np.ndarray, resize: Callable | None) -> Tensor:
    """Return the window (4,) of an image (3, H, W) as the network is to see it: through `resize`, without one at the
    size of the image.
    """
    x1, y1, x2, y2 = window.tolist()
    part = image[:, y1:y2, x1:x2]
    if resize is None:
        return resized(part, {}, *image.shape[1:])[0]
    return resize(part, {}, np.random.default_rng(0))[0]
