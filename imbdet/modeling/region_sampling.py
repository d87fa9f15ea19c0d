"""Which of the matched regions take part: the baselines of the region_sampler slot.

Without waiting for the device: chosen regions are the top-k of random priorities, never gathered by a mask.
Letters: N images, A regions of one image, R = N*A.
"""

import torch
from torch import Tensor

from ..slots import RegionSampler
from ..structures import Matched


class AllRegions(RegionSampler):
    """Slot `region_sampler`: every region that is not ignored (RetinaNet)."""

    per_image = None

    def __call__(self, matched: Matched) -> tuple[Tensor, dict]:
        return matched.considered, {}


class RandomSampling(RegionSampler):
    """Slot `region_sampler`: a fixed number an image at random, with at most a fraction of foreground (Faster R-CNN).

    As detectron2's `subsample_labels`: min(foreground, int(per_image * fraction)) foreground regions, the rest
    background; fewer only when the background is exhausted.

    Args:
        per_image: regions kept of one image (RPN 256, RoI head 512).
        fraction: largest share of foreground (RPN 0.5, RoI head 0.25).
        background_ratio: most background regions for each foreground one of the image, or for one where it has none;
            None sets no limit.
    """

    def __init__(self, per_image: int = 512, fraction: float = 0.25, background_ratio: float | None = None):
        if per_image < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"need per_image >= 1 and fraction in 0..1, got {per_image} and {fraction}")
        if background_ratio is not None and background_ratio < 0:
            raise ValueError(f"background_ratio must be 0 or more, got {background_ratio}")
        self.per_image = per_image
        self.fraction = fraction
        self.background_ratio = background_ratio

    def __call__(self, matched: Matched) -> tuple[Tensor, dict]:
        n, most = matched.num_images, int(self.per_image * self.fraction)
        foreground, background = matched.foreground.view(n, -1), matched.background.view(n, -1)
        positives = foreground.sum(dim=1, keepdim=True).clamp(max=most)
        negatives = self.per_image - positives
        if self.background_ratio is not None:
            negatives = torch.minimum(negatives, (self.background_ratio * positives.clamp(min=1)).long())
        chosen = self.positives(matched, foreground, positives, most)
        chosen = chosen | self.negatives(matched, background, negatives, self.per_image)
        return chosen.view(-1), {}

    def positives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        """Which foreground regions are kept; arguments and result as of `choose`. Other samplers replace it."""
        return choose(candidates, count, most)

    def negatives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        """The same for background."""
        return choose(candidates, count, most)


def choose(candidates: Tensor, count: Tensor, most: int, priority: Tensor | None = None) -> Tensor:
    """For each image the `count` candidates of the highest priority.

    Args:
        candidates: (N, A) bool. count: (N, 1) how many to take. most: an upper bound of count, known to the host.
        priority: (N, A), 0 or more; random in 0..1 if not given.

    Returns:
        (N, A) bool; fewer than `count` where candidates are fewer.
    """
    most = min(most, candidates.shape[1])
    if most == 0:
        return torch.zeros_like(candidates)
    if priority is None:
        priority = torch.rand(candidates.shape, device=candidates.device)
    value, index = torch.where(candidates, priority, -1.0).topk(most, dim=1)
    taken = (torch.arange(most, device=candidates.device) < count) & (value >= 0)
    return torch.zeros_like(candidates).scatter(1, index, taken)


def compress(mask: Tensor, num_images: int, per_image: int | None) -> tuple[Tensor, Tensor] | None:
    """The regions of a mask as indices of a shape known to the host.

    Args:
        mask: (R,) bool. per_image: the most that the mask keeps of one image; None keeps the shape.

    Returns:
        index (N*S,) into the R regions, image after image, and kept (N*S,) bool (False where an image has fewer); None
        if there is nothing to gain (S = R / N).
    """
    rows = mask.view(num_images, -1)
    size = rows.shape[1]
    if per_image is None or per_image >= size:
        return None
    value, index = rows.to(torch.uint8).topk(per_image, dim=1)
    index = index + torch.arange(num_images, device=mask.device).unsqueeze(1) * size
    return index.view(-1), value.view(-1).bool()
