"""Mosaic: four pictures in one, which show their objects in other sizes.

Letters: m objects of a picture, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.augment import cut, keep_objects, resize
from ...data.mixing import OccasionalMix, joined


class Mosaic(OccasionalMix):
    """Puts three other pictures of the data set beside one, around a random point.

    Slot: mix
    Imbalance: scale
    Home: either
    Source: Bochkovskiy, Wang and Liao, 2020, arXiv 2004.10934 (YOLOv4); center, scale, fill and least as in its
        successors (YOLOv5 and later)
    Neutral: Mosaic(prob=0)
    Differs: the successors cut the middle of the canvas by a random affine map, of which this has the scale and no
        shift (the center is random as it is), shear or turn; they end ten epochs before the training does, of 100 by
        default, this at the share `off` of it. The size is that of the picture, not one of the network

    On a canvas of twice the picture's size, scaled by s ~ U(scale), four pictures meet at a point c with its ends:

        c ~ U(center) * s (W, H) in x and in y;  each is resized by s * min(H / its H, W / its W), and has a corner at c

    The result is the middle H x W of the canvas; what no picture covers is grey (`fill`). Objects are clipped to it and
    dropped below the share `least` of their box, although what is left may be seen.

    At the defaults, a picture is shown at 0.5 to 1.5 times the size at which it fits, and cut. Cost: none in the step
    but for more objects; three more pictures are read for each.

    Args:
        prob, off, images: see `OccasionalMix`.
        center: lowest and highest place of c, in sides of the picture; (1, 1) is the middle of the canvas.
        scale: lowest and highest s, above 0.
        least: 0..1, share of a box that must be seen.
        fill: 0..255.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> from imbdet.testing import batch
        >>> images, targets = batch(1, 2, size=64)
        >>> class Draw:
        ...     position = 0
        ...     def __call__(self, rng, index=None):
        ...         return images[1], targets[1]
        >>> image, target = Mosaic(off=0)(images[0], targets[0], Draw(), np.random.default_rng(0))
        >>> tuple(image.shape), set(target["labels"].tolist()) <= {0, 1}
        ((3, 64, 64), True)
    """

    def __init__(
        self,
        prob: float = 1.0,
        off: float = 0.1,
        images: float | None = None,
        center: Sequence[float] = (0.5, 1.5),
        scale: Sequence[float] = (0.5, 1.5),
        least: float = 0.1,
        fill: int = 114,
    ):
        super().__init__(prob, off, images)
        if not 0 <= center[0] <= center[1] <= 2 or not 0 < scale[0] <= scale[1] or not 0 <= least <= 1:
            raise ValueError(
                f"Mosaic: center={center}, scale={scale}, least={least}; expected center in 0..2 and scale above 0, "
                "both ascending, and least in 0..1"
            )
        if not 0 <= fill <= 255:
            raise ValueError(f"Mosaic: fill={fill}; a pixel has 0..255")
        self.center, self.scale = (center[0], center[1]), (scale[0], scale[1])
        self.least, self.fill = least, fill

    def mixed(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        height, width = image.shape[1:]
        scale = rng.uniform(*self.scale)
        # c in pixels of the result, whose corner lies (s - 1/2) * side inside of the canvas
        cx, cy = np.rint((rng.uniform(*self.center, 2) * scale - scale + 0.5) * (width, height)).astype(int).tolist()
        canvas = torch.full((height, width, 3), self.fill, dtype=torch.uint8).permute(2, 0, 1)
        found = keep_objects(target, torch.zeros(len(target["boxes"]), dtype=torch.bool))
        for place in range(4):
            part, objects = (image, target) if place == 0 else draw(rng)
            fit = scale * min(height / part.shape[1], width / part.shape[2])
            part, objects = resize(part, objects, *(max(round(side * fit), 1) for side in part.shape[1:]))
            x, y = cx - (place % 2 == 0) * part.shape[2], cy - (place < 2) * part.shape[1]
            x1, y1 = max(x, 0), max(y, 0)
            x2, y2 = max(min(x + part.shape[2], width), x1), max(min(y + part.shape[1], height), y1)
            canvas[:, y1:y2, x1:x2] = part[:, y1 - y : y2 - y, x1 - x : x2 - x]
            # clipped to what is seen of the picture, then moved to its place
            objects = cut(objects, -x, -y, width - x, height - y, self.least)
            found = joined(found, objects)
        return canvas, found
