"""The few data types that cross module borders.

Letters: N images, M objects of the fullest image (others are padded), R regions (anchors or RoIs) of the whole batch,
flat, image after image. Everything is a tensor of fixed shape, so that nothing in a training step waits for the device.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

IGNORE = -1  #: label of a region that takes no part in any loss


@dataclass
class Objects:
    """The objects of a batch, padded to the fullest image.

    boxes: (N, M, 4) XYXY in pixels of the network input, 0 where padded; labels: (N, M) int64, 0 where padded;
    valid: (N, M) bool. M is at least 1, so that an index into the objects always exists.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor


@dataclass
class Matched:
    """Regions with the object each was matched to; the flat batch every slot of training sees.

    labels: (R,) int64, 0..K-1 class, K background, -1 ignored. objects: (R,) int64 index into the flattened (N*M)
    objects, or -1 where the image has none. iou: (R,) with that object. images: (R,) int64. levels: (R,) int64 pyramid
    level, or -1 before it is known. boxes: (R, 4) XYXY of the region. targets: (R, 4) XYXY of the object; of the
    region itself where it is not foreground, so that a regression target is always finite. num_classes: K. num_images:
    N. deltas: (R, 4) of the head, detached, and the box_coder that decodes them; None before the head was computed.
    """

    labels: Tensor
    objects: Tensor
    iou: Tensor
    images: Tensor
    levels: Tensor
    boxes: Tensor
    targets: Tensor
    num_classes: int
    num_images: int
    deltas: Tensor | None = None
    box_coder: Any = None

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def foreground(self) -> Tensor:
        """(R,) bool: matched to an object and not ignored."""
        return (self.labels >= 0) & (self.labels < self.num_classes)

    @property
    def background(self) -> Tensor:
        """(R,) bool."""
        return self.labels == self.num_classes

    @property
    def considered(self) -> Tensor:
        """(R,) bool: foreground or background, not ignored."""
        return self.labels >= 0

    def take(self, index: Tensor) -> "Matched":
        """Return the regions at `index` (R',) int64, in that order."""
        fields = ("labels", "objects", "iou", "images", "levels", "boxes", "targets", "deltas")
        values = {name: getattr(self, name) for name in fields}
        return replace(self, **{name: value[index] for name, value in values.items() if value is not None})

    def regressed(self) -> Tensor:
        """Return (R, 4) XYXY: the regions after regression, without gradient; those that are not foreground stay."""
        assert self.deltas is not None, "the head's deltas are known inside of the criterion only"
        return self.box_coder.decode(self.deltas, self.boxes)

    def ignore_all_but(self, keep: Tensor) -> "Matched":
        """Give regions outside the mask `keep` (R,) the label -1."""
        return replace(self, labels=torch.where(keep, self.labels, IGNORE))


@dataclass
class Picture:
    """A stat to look at: `draw()` -> uint8 (3, H, W), called on the iterations that report, and only then."""

    draw: Callable[[], Tensor]


@dataclass
class RegionStats:
    """What one criterion saw, detached and unreduced: the meters read it on the iterations that report, and only then.

    matched: the regions; deltas: (R, 4), of which only the rows of foreground mean anything;
    classification, regression: (R,) weighted values per region, before normalization; box_coder decodes on demand.
    """

    matched: Matched
    classification: Tensor
    regression: Tensor
    deltas: Tensor
    box_coder: Any

    def decoded(self) -> Tensor:
        """Return (R, 4) XYXY: the regions after regression."""
        return self.box_coder.decode(self.deltas, self.matched.boxes)
