"""Which region belongs to which object: the matcher slot, and the step from objects and regions to `Matched`.

Letters: N images, M objects of the fullest image, A regions of one image, R = N*A.
"""

import torch
from torch import Tensor

from ..slots import Matcher
from ..structures import IGNORE, Matched, Objects
from .boxes import pairwise_iou

#: elements of an IoU block that are held at once (float32: 256 MiB); larger batches are matched image by image
IOU_BLOCK = 64 * 2**20


class ThresholdMatcher(Matcher):
    """Slot `matcher`: foreground from IoU `foreground` on, background below `background`, ignored between.

    Args:
        foreground, background: IoU in 0..1; background <= foreground.
        best_for_each_object: the regions with the highest IoU of each object become foreground whatever that IoU is
            (ties included), as Faster R-CNN's RPN does ("low quality matches"). They keep the object that they overlap
            most.
            Differs from detectron2: an object that no region touches takes no region at all, where detectron2 takes
            all.
    """

    def __init__(self, foreground: float = 0.5, background: float = 0.5, best_for_each_object: bool = False):
        if not 0 <= background <= foreground <= 1:
            raise ValueError(
                f"need 0 <= background <= foreground <= 1, got background {background}, foreground {foreground}"
            )
        self.foreground = foreground
        self.background = background
        self.best_for_each_object = best_for_each_object

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """iou (N, M, A), 0 for padded objects; valid (N, M) -> object (N, A), IoU (N, A), kind (N, A): 1, 0 or -1."""
        best, index = iou.max(dim=1)
        kind = (best >= self.foreground).to(torch.int8) - ((best >= self.background) & (best < self.foreground)).to(
            torch.int8
        )
        if self.best_for_each_object:
            highest = iou.amax(dim=2, keepdim=True)
            kind = torch.where(((iou == highest) & (highest > 0)).any(dim=1), 1, kind)
        return index, best, kind


def claim(priority: Tensor, claimed: Tensor, iou: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give each region that objects claim to the object of the highest priority.

    Args:
        priority: (N, M, A) finite. claimed: (N, M, A) bool. iou: (N, M, A).

    Returns:
        object index (N, A), IoU with it (N, A) and kind (N, A), 1 or 0, as of a matcher. A region that nobody claims
        has the object that it overlaps most.
    """
    lowest = torch.finfo(priority.dtype).min
    best, index = torch.where(claimed, priority, lowest).max(dim=1)
    taken = best > lowest
    index = torch.where(taken, index, iou.argmax(dim=1))
    return index, iou.gather(1, index.unsqueeze(1)).squeeze(1), taken.to(torch.int8)


def top(priority: Tensor, count: int) -> Tensor:
    """(N, M, A) -> bool of the same shape: the `count` regions of highest priority of each object (all if fewer)."""
    index = priority.topk(min(count, priority.shape[2]), dim=2).indices
    return torch.zeros_like(priority, dtype=torch.bool).scatter(2, index, True)


def match(
    regions: Tensor, levels: Tensor, objects: Objects, matcher: Matcher, num_classes: int, allowed: Tensor | None = None
) -> Matched:
    """Regions and objects of a batch -> the flat batch of R = N*A matched regions.

    Args:
        regions: (A, 4) the same for all images (anchors) or (N, A, 4).
        levels: (A,) or (N, A) pyramid level.
        matcher: the matcher slot.
        allowed: (N, A) bool, False for regions that are only padding; they are ignored.
    """
    n, m = objects.labels.shape
    regions = regions.expand(n, -1, -1)
    a = regions.shape[1]
    step = n if n * m * a <= IOU_BLOCK else max(1, IOU_BLOCK // (m * a))
    parts = []
    for i in range(0, n, step):
        rows, more = slice(i, i + step), {}
        iou = pairwise_iou(objects.boxes[rows], regions[rows])
        if matcher.geometry:
            places = levels.expand(n, a)[rows]
            more = {"regions": regions[rows], "levels": places, "objects": objects.boxes[rows]}
        parts.append(matcher(iou * objects.valid[rows, :, None], objects.valid[rows], **more))
    index, iou, kind = (torch.cat(x) if len(x) > 1 else x[0] for x in zip(*parts, strict=True))
    return assign(regions, levels, objects, index, iou, kind, num_classes, allowed)


def assign(
    regions: Tensor,
    levels: Tensor,
    objects: Objects,
    index: Tensor,
    iou: Tensor,
    kind: Tensor,
    num_classes: int,
    allowed: Tensor | None = None,
) -> Matched:
    """What a matcher says of the regions, (N, A) each, -> the flat batch; the other arguments are those of `match`."""
    n, m = objects.labels.shape
    a = index.shape[1]
    regions = regions.expand(n, -1, -1)
    labels = objects.labels.gather(1, index)
    labels = torch.where(kind == 1, labels, torch.where(kind == 0, num_classes, IGNORE))
    if allowed is not None:
        labels = torch.where(allowed, labels, IGNORE)
    matched_boxes = objects.boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    foreground = ((labels >= 0) & (labels < num_classes)).unsqueeze(-1)
    image = torch.arange(n, device=labels.device).unsqueeze(1).expand(n, a)
    flat = torch.where(objects.valid.gather(1, index), index + image * m, -1)
    return Matched(
        labels=labels.reshape(-1),
        objects=flat.reshape(-1),
        iou=iou.reshape(-1),
        images=image.reshape(-1),
        levels=levels.expand(n, a).reshape(-1),
        boxes=regions.reshape(-1, 4),
        targets=torch.where(foreground, matched_boxes, regions).reshape(-1, 4),
        num_classes=num_classes,
        num_images=n,
    )
