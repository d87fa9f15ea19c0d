"""Online foreground-balanced sampling: among the chosen foreground regions all classes of an image are equally likely.

Letters: N images, A regions of one image, R = N*A, K classes.
"""

import torch
from torch import Tensor

from ...modeling.defaults import choose
from ...slots import RegionSampler
from ...structures import Matched


class ForegroundBalancedSampling(RegionSampler):
    """Random sampling whose foreground is drawn with a probability that is inverse to the regions of the class.

    Slot: region_sampler
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Oksuz, Cam, Akbas, Kalkan, WACV 2020, arXiv 1909.09777, online foreground balanced sampling
    Neutral: power=0, which is RandomSampling, region by region for the same random numbers
    Differs: drawn for all images at once as the top-k of random keys, with the source's distribution; power is ours

    A region of class c, of which the image has n_c foreground regions, weighs

        w = 1 / (classes in the image * n_c)^power

    and the regions are drawn one after the other without replacement, each time with probability w / sum of the w that
    are left. That is to take those with the largest keys u^(1/w), u uniform in 0..1 (Efraimidis and Spirakis 2006).
    The number of foreground regions and the background are those of RandomSampling.

    It changes nothing in an image whose foreground fits into the quota per_image * fraction, as then all is taken (the
    logged `foreground_balanced/left_out` is the mean number that is not), nor in one of a single class.

    Args:
        per_image: regions kept of one image (512 in the source, RoI head).
        fraction: largest share of foreground (0.25 in the source).
        power: 0..1; 1 in the source, where each class has the same chance.

    Raises:
        ValueError: a setting out of range.

    Example:
        >>> ForegroundBalancedSampling(per_image=64).per_image
        64
    """

    per_image: int

    def __init__(self, per_image: int = 512, fraction: float = 0.25, power: float = 1.0):
        if per_image < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"need per_image >= 1 and fraction in 0..1, got {per_image} and {fraction}")
        if not 0 <= power <= 1:
            raise ValueError(f"power must be in 0 (all regions alike) .. 1 (all classes alike), got {power}")
        self.per_image = per_image
        self.fraction = fraction
        self.power = power

    def __call__(self, matched: Matched) -> tuple[Tensor, dict]:
        """Matched -> mask (R,) bool, stats."""
        n, quota = matched.num_images, int(self.per_image * self.fraction)
        foreground, background = matched.foreground.view(n, -1), matched.background.view(n, -1)
        found = foreground.sum(dim=1, keepdim=True)
        positives = found.clamp(max=quota)
        chosen = choose(foreground, positives, quota, self.priority(matched))
        chosen = chosen | choose(background, self.per_image - positives, self.per_image)
        left_out = (found - positives).float().mean()
        return chosen.view(-1), {"foreground_balanced/left_out": left_out}

    def priority(self, matched: Matched) -> Tensor:
        """Return (N, A) in 0..1: grows with the key u^(1/w) of foreground regions; anything for others.

        The key itself would underflow to 0 at n_c in the hundreds, so it is -log(u) / w, turned round into 0..1. The
        number of classes in an image is the same factor for all its regions and does not change their order.
        """
        labels = matched.labels.clamp(min=0).view(matched.num_images, -1)
        counts = torch.zeros(len(labels), matched.num_classes + 1, device=labels.device)
        counts.scatter_add_(1, labels, matched.foreground.view(labels.shape).float())
        cost = counts.gather(1, labels).clamp(min=1) ** self.power
        return 1 / (1 - cost * torch.rand(labels.shape, device=labels.device).log())
