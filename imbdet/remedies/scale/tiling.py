"""Tiling: the detector learns from parts of a picture, which come larger to the network.

Letters: m objects of a picture, T tiles.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...data.augment import cut, resize
from ...data.tiles import Tiles
from ...slots import Augment


class Tiling(Augment):
    """Shows one tile of a picture in its place, or the picture as a whole as one tile among them.

    Slot: augment
    Imbalance: scale
    Home: either
    Source: Akyon, Altinuc and Temizel, 2022, arXiv 2202.06934 (SAHI: slicing aided fine-tuning); defaults of its
        library sahi
    Neutral: Tiling(prob=0), or tiles as large as the picture
    Differs: the source cuts all tiles beforehand and trains on them and on the pictures as further images; here each
        picture gives one of the T at random each time that it comes, so an epoch keeps its length and shows a T-th of
        the tiles. Tiles are evenly apart, where the source pushes the last one back. The config has a share of the
        sides, 0.6 (four tiles and the whole), in place of 512 pixels, which are of pictures of one to four megapixels

    A tile is drawn from the windows of `imbdet.data.tiles.Tiles`, each as likely. An object whose box lies in it by the
    share `least` or more is kept, its box clipped; another is dropped although a part of it may be seen, which is noise
    of labels on either side of `least`: at the published 0.1 a boxed tenth of an object, at a larger one an unboxed
    half. As pictures come to the network at one size, an object grows by the picture's side over the tile's.

    Evaluate with tiles, too (`imbdet evaluate --tiles SIZE`, or `dataloader.*.tiles`, for all arms of a comparison):
    whole pictures show objects smaller than most that were trained on. Cost: none in the step.

    Args:
        size, overlap, whole: see `Tiles`.
        prob: 0..1, how often a tile is drawn at all.
        anywhere: tiles other than the whole are moved to a random place instead of that of the grid.
        least: 0..1, share of a box that must lie in the tile.
        empty: draw tiles without objects, too; False draws from those with objects where there are any.
        enlarge: bring a tile to the size of its picture, for an augment after which pictures differ in size.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch
        >>> target = {"boxes": torch.tensor([[0.0, 0, 2, 2]]), "labels": torch.tensor([3])}
        >>> tiling = Tiling(size=2, overlap=0, whole=False, empty=False)
        >>> image, target = tiling(torch.zeros(3, 4, 4, dtype=torch.uint8), target, np.random.default_rng(0))
        >>> tuple(image.shape), target["boxes"].tolist()
        ((3, 2, 2), [[0.0, 0.0, 2.0, 2.0]])
    """

    def __init__(
        self,
        size: float = 512,
        overlap: float = 0.2,
        whole: bool = True,
        prob: float = 1.0,
        anywhere: bool = False,
        least: float = 0.1,
        empty: bool = True,
        enlarge: bool = False,
    ):
        for name, value in (("prob", prob), ("least", least)):
            if not 0 <= value <= 1:
                raise ValueError(f"Tiling: {name}={value}; it must lie in 0..1")
        self.tiles = Tiles(size, overlap, whole)
        self.prob, self.anywhere, self.least, self.empty, self.enlarge = prob, anywhere, least, empty, enlarge

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        height, width = image.shape[1:]
        windows = self.tiles.windows(height, width)
        if not self.prob or len(windows) == 1 or rng.random() >= self.prob:
            return image, target
        if self.anywhere:
            sides = windows[:, 2:] - windows[:, :2]
            corners = rng.integers(0, (width, height) - sides + 1)
            windows = np.concatenate((corners, corners + sides), axis=1)
        found = [cut(target, x1, y1, x2, y2, self.least) for x1, y1, x2, y2 in windows.tolist()]
        allowed = [i for i, part in enumerate(found) if self.empty or len(part["boxes"])] or range(len(found))
        i = allowed[int(rng.integers(len(allowed)))]
        x1, y1, x2, y2 = windows[i].tolist()
        part, target = image[:, y1:y2, x1:x2], found[i]
        return resize(part, target, height, width) if self.enlarge else (part, target)
