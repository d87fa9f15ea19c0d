"""Boxes with a wanted IoU to an object, many at once: positives as evenly spread over IoU as one likes.

Letters: N images, M objects of the fullest image, B boxes of one image, I intervals of IoU.
"""

import torch
from torch import Tensor

from ...modeling.boxes import clip, paired_iou
from ...modeling.defaults import constants
from ...structures import Objects

#: boxes of one image in one call
MOST = 4096
#: how far a direction is followed, in its own units: 8 widths, or a side of e^-8 of the object's
REACH = 8.0
#: the length is cut into so many parts, the part in which the IoU falls below the target again, and so on; the last
#: part, 8e-6 long, moves the IoU by less than 1e-4. 10 parts 6 times need 0.4 of the operators of 20 halvings
PARTS, ROUNDS = 10, 6


def boxes_at(objects: Tensor, target: Tensor, sizes: Tensor) -> Tensor:
    """One box for each object, inside the image, whose IoU with it is the wanted one after it was cut at the border.

    A direction in (dx, dy, log sw, log sh) is drawn: where the box moves, in widths and heights of the object, and how
    its sides grow. The box leaves the object in that direction until the IoU has fallen to the target, found by
    section. A direction in which the image's border keeps the IoU above the target (growth of an object that fills the
    image) is taken backwards, which always leads below it.

    Args:
        objects: (N, B, 4) XYXY; what lies outside of the image is cut first. target: (N, B) in 0.05..1. sizes: (N, 2)
            height and width.

    Returns:
        (N, B, 4) XYXY. Their IoU is at least the target, by less than 1e-4. Of an object without area in the image the
        box has none either.
    """
    limit = sizes.to(objects.dtype).flip(-1).unsqueeze(1)
    low, high = (torch.minimum(corner.clamp(min=0), limit) for corner in (objects[..., :2], objects[..., 2:]))
    center, half = (low + high) / 2, (high - low) / 2
    direction = torch.nn.functional.normalize(torch.randn_like(objects), dim=-1)
    move, grow = 2 * half * direction[..., :2], direction[..., 2:]
    area = 4 * half[..., 0] * half[..., 1]

    def box(t: Tensor) -> tuple[Tensor, Tensor]:
        """Lengths (N, B, S) -> corners (N, B, S, 2) each."""
        t = t.unsqueeze(-1)
        c, h = center.unsqueeze(2) + t * move.unsqueeze(2), half.unsqueeze(2) * torch.exp(t * grow.unsqueeze(2))
        return (c - h).clamp(min=0), torch.minimum(c + h, limit.unsqueeze(2))

    def reaches(t: Tensor) -> Tensor:
        """Lengths (N, B, S) -> whether IoU >= target (N, B, S)."""
        a, b = box(t)
        shared = (torch.minimum(b, high.unsqueeze(2)) - torch.maximum(a, low.unsqueeze(2))).clamp(min=0)
        own = (b - a).clamp(min=0)
        shared, own = shared[..., 0] * shared[..., 1], own[..., 0] * own[..., 1]
        return shared >= target.unsqueeze(2) * (own + area.unsqueeze(2) - shared)

    reach = torch.full_like(target, REACH)
    length = torch.where(reaches(reach.unsqueeze(2)).squeeze(2), -reach, reach)
    inner = torch.arange(1, PARTS, device=target.device) / PARTS
    near = torch.zeros_like(target)
    for _ in range(ROUNDS):  # the IoU is at least the target at `near`, and not at near + length
        above = reaches(near.unsqueeze(2) + length.unsqueeze(2) * inner)
        length = length / PARTS
        near = near + length * above.cumprod(dim=2).sum(dim=2)
    return clip(torch.cat(box(near.unsqueeze(2)), dim=-1).squeeze(2), sizes)  # what has no area may lie anywhere


def share_out(weights: Tensor, count: int, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which object each box of an image is made for: each object as often as its weight says, up to one box.

    Args:
        weights: (N, M), not negative; an image whose weights are all 0 gets no box. count: B.
        wanted: (N, 1) how many of the B boxes an image shall have; all if not given.

    Returns:
        owner (N, B) int64 in 0..M-1, in order, and valid (N, B).
    """
    edges = weights.cumsum(dim=1)
    rows = torch.arange(count, device=weights.device)
    wanted = torch.full_like(edges[:, -1:], count) if wanted is None else wanted.clamp(max=count)
    places = (rows + torch.rand(len(weights), 1, device=weights.device)) / wanted.clamp(min=1)
    owner = torch.searchsorted(edges, places * edges[:, -1:], right=True).clamp(max=weights.shape[1] - 1)
    return owner, (rows < wanted) & (weights.gather(1, owner) > 0)


def owned(objects: Objects, owner: Tensor) -> Tensor:
    """owner (N, B) -> boxes of those objects (N, B, 4)."""
    return objects.boxes.gather(1, owner.unsqueeze(-1).expand(-1, -1, 4))


class UniformBoxes:
    """Boxes whose IoU with their object is exactly uniform in low..high.

    Args:
        per_object: boxes of one object, fewer where an image has more objects than fit.
        low, high: IoU in 0.05..1.
    """

    def __init__(self, per_object: int = 64, low: float = 0.5, high: float = 1.0):
        if per_object < 1 or not 0.05 <= low <= high <= 1:
            raise ValueError(f"need per_object >= 1 and 0.05 <= low <= high <= 1, got {per_object}, {low} and {high}")
        self.per_object = per_object
        self.low = low
        self.high = high

    def __call__(self, objects: Objects, sizes: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """objects, sizes (N, 2), at most so many an image -> boxes (N, B, 4), object of each (N, B), valid (N, B)."""
        count = min(most, self.per_object * objects.valid.shape[1])
        wanted = self.per_object * objects.valid.sum(dim=1, keepdim=True)
        owner, valid = share_out(objects.valid.float(), count, wanted)
        target = self.low + (self.high - self.low) * torch.rand(owner.shape, device=owner.device)
        return boxes_at(owned(objects, owner), target, sizes), owner, valid


#: interval of IoU, largest shift in widths and heights, smallest and largest factor of a side (Zhu et al.'s code)
INTERVALS = (
    (0.5, 0.6, 0.75, 0.5, 2.0),
    (0.6, 0.7, 0.5, 0.6, 1.6),
    (0.7, 0.8, 0.3, 0.7, 1.4),
    (0.8, 1.0, 0.125, 0.8, 1.25),
)


class JitteredBoxes:
    """The sampler of the authors' code: for each object and interval of IoU, `tries` boxes at random, of which at most
    `per_interval` that fall into the interval are kept.

    It is not uniform in IoU: the last interval is twice as wide as the others, and within each the low end is more
    likely. Where fewer than `per_interval` of the tries fall into the interval, fewer are returned.

    Args:
        per_interval: 16 in the authors' code. tries: 500 there. They are made all at once: 2000 boxes an object.
    """

    def __init__(self, per_interval: int = 16, tries: int = 500):
        if not 1 <= per_interval <= tries:
            raise ValueError(f"need 1 <= per_interval <= tries, got {per_interval} and {tries}")
        self.per_interval = per_interval
        self.tries = tries

    def __call__(self, objects: Objects, sizes: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
        """As UniformBoxes."""
        n, m = objects.valid.shape
        low, high, shift, least, largest = constants(INTERVALS, objects.boxes).t().unsqueeze(-1)  # (I, 1) each
        drawn = torch.rand(n, m, len(INTERVALS), self.tries, 4, device=objects.boxes.device)
        x1, y1, x2, y2 = (side.view(n, m, 1, 1) for side in objects.boxes.unbind(dim=-1))
        w, h = x2 - x1, y2 - y1
        cx = (x1 + x2) / 2 + w * shift * (2 * drawn[..., 0] - 1)
        cy = (y1 + y2) / 2 + h * shift * (2 * drawn[..., 1] - 1)
        w = w / 2 * (least + (largest - least) * drawn[..., 2])
        h = h / 2 * (least + (largest - least) * drawn[..., 3])
        limit = sizes.to(x1.dtype).flip(-1).view(n, 1, 1, 1, 2)
        low_corner = torch.stack((cx - w, cy - h), dim=-1).clamp(min=0)
        high_corner = torch.minimum(torch.stack((cx + w, cy + h), dim=-1), limit)
        boxes = torch.cat((low_corner, high_corner), dim=-1)
        iou = paired_iou(boxes, objects.boxes.view(n, m, 1, 1, 4))
        good = (iou > low) & (iou <= high) & objects.valid.view(n, m, 1, 1)
        value, index = torch.where(good, torch.rand_like(iou), -1.0).topk(self.per_interval, dim=-1)
        boxes = boxes.gather(3, index.unsqueeze(-1).expand(-1, -1, -1, -1, 4)).view(n, -1, 4)
        valid = (value >= 0).view(n, -1)
        owner = torch.arange(m, device=valid.device).repeat_interleave(
            len(INTERVALS) * self.per_interval, output_size=valid.shape[1]
        )
        owner = owner.expand(n, -1)
        if most >= valid.shape[1]:
            return boxes, owner, valid
        index = torch.where(valid, torch.rand(valid.shape, device=valid.device), -1.0).topk(most, dim=1).indices
        return boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)), owner.gather(1, index), valid.gather(1, index)
