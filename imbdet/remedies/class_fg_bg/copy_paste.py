"""Copy-paste: objects of another picture are pasted into one.

Letters: m objects of a picture, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...data.augment import cut, resize
from ...data.mixing import OccasionalMix, joined, visible, whole_pixels


class CopyPaste(OccasionalMix):
    """Pastes some objects of another picture of the data set into one, as rectangles.

    Slot: mix
    Imbalance: class_fg_bg
    Home: either
    Source: Ghiasi, Cui, Srinivas, Qian, Lin, Cubuk, Le and Zoph, 2021, arXiv 2012.07177 (simple copy-paste, large scale
        jittering); the number of objects as in mmdetection
    Neutral: CopyPaste(prob=0)
    Differs: the source pastes by masks. Records hold boxes alone, so that whole rectangles are pasted, with the
        background that they show and its edges, which a detector may learn instead of the object. What is covered is
        reckoned from rectangles, too: an object below goes when less than the share `least` of its box can be seen
        (source: covered as a whole; mmdetection: mask below 300 and a box that moved by 10 pixels). The picture that is
        pasted into is scaled and flipped by `augment`, not here

    The other picture is resized by s * min(H / its H, W / its W), s ~ U(scale), and laid over the picture at a random
    place, inside of it or, where it is larger, around it. Of its m objects that are seen there, n ~ U{0..m}, at most
    `most`, are drawn without repeats; their rectangles of whole pixels are pasted. Another object of it that shows in
    these by the share `least` or more comes along with its box; else it is there without one.

    Cost: none in the step but for more objects; one more picture is read for each.

    Args:
        prob, off, images: see `OccasionalMix`; the source pastes until the end.
        scale: lowest and highest s, above 0; (0.8, 1.25) is the source's standard jittering.
        most: objects that are drawn.
        least: 0..1.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> from imbdet.testing import batch
        >>> images, targets = batch(1, 4)
        >>> class Draw:
        ...     position = 0
        ...     def __call__(self, rng, index=None):
        ...         return images[1], targets[1]
        >>> image, target = CopyPaste()(images[0], targets[0], Draw(), np.random.default_rng(1))
        >>> tuple(image.shape), len(target["labels"]) >= 1
        ((3, 128, 128), True)
    """

    def __init__(
        self,
        prob: float = 1.0,
        off: float = 0.0,
        images: float | None = None,
        scale: Sequence[float] = (0.1, 2.0),
        most: int = 100,
        least: float = 0.1,
    ):
        super().__init__(prob, off, images)
        if not 0 < scale[0] <= scale[1] or most < 0 or not 0 <= least <= 1:
            raise ValueError(
                f"CopyPaste: scale={scale}, most={most}, least={least}; expected ascending scales above 0, a number "
                "of objects and least in 0..1"
            )
        self.scale, self.most, self.least = (scale[0], scale[1]), most, least

    def mixed(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        height, width = image.shape[1:]
        other, more = draw(rng)
        fit = rng.uniform(*self.scale) * min(height / other.shape[1], width / other.shape[2])
        other, more = resize(other, more, *(max(round(side * fit), 1) for side in other.shape[1:]))
        rooms = (width - other.shape[2], height - other.shape[1])
        x, y = (int(rng.integers(min(room, 0), max(room, 0) + 1)) for room in rooms)
        more = cut(more, -x, -y, width - x, height - y, self.least)  # what lies on the picture, in its pixels
        count = int(rng.integers(0, min(len(more["boxes"]), self.most) + 1))
        chosen = rng.choice(len(more["boxes"]), count, replace=False)
        if not count:
            return image, target
        pasted = np.zeros((height, width), dtype=bool)
        for i in chosen.tolist():
            x1, y1, x2, y2 = whole_pixels(more["boxes"][i], height, width)
            pasted[y1:y2, x1:x2] = True
        ys, xs = np.nonzero(pasted)
        image = image.clone()
        image[:, ys, xs] = other[:, ys - y, xs - x]
        return image, joined(visible(target, pasted, self.least), visible(more, ~pasted, self.least))
