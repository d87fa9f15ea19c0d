"""Hard negative mining: of the background only the worst regions count, three for each foreground region.

Letters: N images, A regions of one image, R = N*A.
"""

import torch
from torch import Tensor

from ...modeling.defaults import choose
from ...slots import Weighting
from ...structures import Matched


class HardNegativeMining(Weighting):
    """Weighs background 0, but for the regions of highest classification loss: `ratio` for each positive of the image.

    Slot: weighting
    Imbalance: class_fg_bg
    Home: retinanet; made for dense heads (SSD)
    Source: Liu, Anguelov, Erhan, Szegedy, Reed, Fu, Berg, 2016, arXiv 1512.02325, section 2.2 "Hard negative mining"
    Neutral: HardNegativeMining(ratio=inf), which keeps every region
    Differs: an image without objects keeps `minimum` background regions, where SSD keeps none, so that such images
        teach something; both losses are divided by the foreground regions, as in SSD, on RoI heads too

    Of an image with P foreground regions,

        w = 1 for foreground; 1 for the max(ratio P, minimum) background regions of highest loss; else 0

    Args:
        ratio: background regions for each foreground one; 3 in the paper.
        minimum: background regions that an image keeps at least.

    Example:
        >>> from imbdet.remedies.class_fg_bg.hard_negative_mining import HardNegativeMining
        >>> HardNegativeMining().ratio
        3.0
    """

    def __init__(self, ratio: float = 3.0, minimum: int = 3):
        if not ratio > 0 or minimum < 0:
            raise ValueError(f"need ratio above 0 and minimum of 0 or more, got {ratio} and {minimum}")
        self.ratio = float(ratio)
        self.minimum = minimum

    def __call__(self, classification: Tensor, regression: Tensor, matched: Matched):
        """(R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        n = matched.num_images
        background, foreground = matched.background.view(n, -1), matched.foreground.view(n, -1)
        size = background.shape[1]
        wanted = (foreground.sum(dim=1, keepdim=True) * self.ratio).clamp(min=self.minimum, max=size)
        hard = choose(background, wanted, size, classification.view(n, -1))
        weights = (foreground | hard).view(-1).to(classification.dtype)
        kept = hard.sum().float()
        stats = {"hard_negatives/per_image": kept / n, "hard_negatives/share_of_loss": _share(classification, hard)}
        return (weights, torch.ones_like(regression)), stats


def _share(values: Tensor, hard: Tensor) -> Tensor:
    """What the chosen background has of the loss of all regions."""
    return (values * hard.view(-1)).sum() / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
