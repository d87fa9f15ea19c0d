"""Mixup: two pictures blended, with the objects of both.

Letters: m objects of a picture, H, W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.mixing import OccasionalMix, joined


class Mixup(OccasionalMix):
    """Blends another picture of the data set into one, pixel by pixel.

    Slot: mix
    Imbalance: class_fg_bg
    Home: either
    Source: Zhang, He, Zhang, Zhang, Xie and Li, 2019, arXiv 1902.04103 (Bag of Freebies: visually coherent mixup);
        alpha and objects of weight 1 as in YOLOv5 and later
    Neutral: Mixup(prob=0)
    Differs: the source weighs the losses of the objects by the share of their picture, and draws it from Beta(1.5,
        1.5). No target has weights here, so that objects count in full, as in YOLOv5 and YOLOX; the share is near a
        half then (alpha=32), since at 1.5 a tenth of the blends would show one of the two at less than a tenth

    With a picture a and another one b, both with their left upper corner at that of a canvas of the larger height and
    the larger width, black where a picture does not reach:

        share ~ Beta(alpha, alpha);  pixel = round(share * a + (1 - share) * b);  objects = those of a, then those of b

    The number of objects in a picture doubles, and so do the foreground regions of a batch. Cost: none in the step but
    for the larger of two sizes and more objects; one more picture is read for each.

    Args:
        prob, off, images: see `OccasionalMix`; the source ends at 180 of 200 epochs.
        alpha: above 0; the larger, the nearer the share is to a half.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> from imbdet.testing import batch
        >>> images, targets = batch(1, 2, size=64)
        >>> class Draw:
        ...     position = 0
        ...     def __call__(self, rng, index=None):
        ...         return images[1], targets[1]
        >>> image, target = Mixup(off=0)(images[0], targets[0], Draw(), np.random.default_rng(0))
        >>> tuple(image.shape), target["labels"].tolist()
        ((3, 64, 64), [0, 0, 1])
    """

    def __init__(self, prob: float = 1.0, off: float = 0.1, images: float | None = None, alpha: float = 32.0):
        super().__init__(prob, off, images)
        if not 0 < alpha < float("inf"):
            raise ValueError(f"Mixup: alpha={alpha}; it must be above 0")
        self.alpha = alpha

    def mixed(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        other, more = draw(rng)
        share = rng.beta(self.alpha, self.alpha)
        height, width = (max(image.shape[axis], other.shape[axis]) for axis in (1, 2))
        canvas = torch.zeros(height, width, 3).permute(2, 0, 1)
        for part, weight in ((image, share), (other, 1 - share)):
            canvas[:, : part.shape[1], : part.shape[2]] += weight * part
        return canvas.round_().clamp_(0, 255).to(torch.uint8), joined(target, more)
