"""What quality focal loss and varifocal loss share: classification targets that say how well the box fits.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor

from ...modeling.boxes import paired_iou
from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched


def quality_targets(matched: Matched, num_classes: int, soft: bool) -> Tensor:
    """Return (R, K): at the region's class the IoU of its regressed box with its object (1 if not `soft`), 0
    elsewhere.
    """
    truth = one_hot(matched.labels, num_classes, torch.float32)
    if not soft:
        return truth
    return truth * paired_iou(matched.regressed().float(), matched.targets).clamp(0, 1).unsqueeze(1)


class QualityClassification(SigmoidLogits):
    """K independent logits that are scores of class and place at once; see the two losses."""

    def __init__(self, prior: float, soft: bool, normalizer):
        self.set_prior(prior)
        self.soft = soft
        self.normalizer = normalizer


def quality_stats(targets: Tensor, matched: Matched) -> dict[str, Tensor]:
    """Return the mean target of the foreground."""
    return {"quality/mean": targets.sum() / matched.foreground.sum().clamp(min=1)}
