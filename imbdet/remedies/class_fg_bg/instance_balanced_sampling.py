"""Instance-balanced positive sampling: every object of an image gives equally many positives.

Letters: N images, A regions of one image, M objects of one image that have a positive.
"""

import torch
from torch import Tensor

from ...modeling.defaults import RandomSampling, choose
from ...structures import Matched


class InstanceBalancedSampling(RandomSampling):
    """Draws the foreground in equal parts from the objects of an image; the background at random.

    Slot: region_sampler
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Pang, Chen, Shi, Feng, Ouyang, Lin, 2019, arXiv 1904.02701, section 3.1 (last paragraph), and the authors'
        code
    Neutral: images with a single object, where it draws at random
    Differs: nothing but the random numbers

    Of n positives wanted in an image with M objects, each object gives at most round(n / M) + 1 at random; too many
    are thinned at random, too few are filled at random from the other positives.

    Args:
        per_image, fraction: as in RandomSampling.
        background: another sampler whose `negatives` are drawn, such as IoUBalancedSampling; None draws at random.

    Example:
        >>> from imbdet.remedies.class_fg_bg.instance_balanced_sampling import InstanceBalancedSampling
        >>> InstanceBalancedSampling(per_image=64).fraction
        0.25
    """

    def __init__(self, per_image: int = 512, fraction: float = 0.25, background: RandomSampling | None = None):
        super().__init__(per_image, fraction)
        if background is not None and not isinstance(background, RandomSampling):
            raise ValueError(f"background must be a sampler with `negatives`, got {type(background).__name__}")
        self.background = background

    def positives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        order = torch.rand(candidates.shape, device=candidates.device)
        rank, objects = rank_in_object(matched.objects.view(candidates.shape), candidates, order)
        quota = (count / objects.clamp(min=1)).round() + 1
        # a region within its object's quota comes before any that is not, each kind in random order
        priority = (candidates & (rank < quota)) + torch.rand(candidates.shape, device=candidates.device)
        return choose(candidates, count, most, priority)

    def negatives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        if self.background is not None:
            return self.background.negatives(matched, candidates, count, most)
        return super().negatives(matched, candidates, count, most)


def rank_in_object(objects: Tensor, candidates: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return the place of each candidate among those of its object.

    Args:
        objects: (N, A) int64, an id of the object. candidates: (N, A) bool. order: (N, A), lower comes first.

    Returns:
        rank (N, A) from 0 on, meaningless where it is no candidate; objects with a candidate in each image (N, 1).
    """
    by_order = order.argsort(dim=1)
    key = torch.where(candidates, objects, -1).gather(1, by_order)
    key, by_object = key.sort(dim=1, stable=True)
    index = by_order.gather(1, by_object)
    place = torch.arange(key.shape[1], device=key.device).expand_as(key)
    first = torch.ones_like(key, dtype=torch.bool)
    first[:, 1:] = key[:, 1:] != key[:, :-1]
    start = torch.where(first, place, 0).cummax(dim=1).values
    rank = torch.zeros_like(key).scatter(1, index, place - start)
    return rank, (first & (key >= 0)).sum(dim=1, keepdim=True)
