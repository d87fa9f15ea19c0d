"""EQL v2: each class's negatives and positives are weighed by the gradient that they have had so far.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...structures import Matched
from ._gradient_ratio import GradientRatio
from ._sigmoid_group import SigmoidGroup


class EQLv2(GradientRatio, SigmoidGroup):
    """Sigmoid cross entropy whose negatives count little, and positives more, for classes with little positive
    gradient.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Tan et al., 2021, arXiv 2012.08548
    Neutral: EQLv2(num_classes, alpha=0, mu=-1e6), with which all weights are 1
    Differs: nothing

    K + 1 sigmoids, the last for background, never weighed. With g_j the ratio of the gradients that positives and
    negatives of class j have had since the training began (weights included; 100 before there was any):

        r_j = 1 / (1 + exp(-gamma (g_j - mu)))      weight of negatives
        q_j = 1 + alpha (1 - r_j)                   weight of positives
        score_j = sigmoid(z_j) (1 - sigmoid(z_background))

    g begins above mu, so the first steps are plain cross entropy, in short trainings all of them: eql_v2/ratio_min
    shows it. Scores are products of sigmoids and low: the threshold must be about 0.001.

    Args:
        num_classes: K. gamma: 12 in the paper. mu: 0.8. alpha: 4, >= 0. prior: 0.001.

    Example:
        >>> EQLv2(3).num_logits(3)
        4
    """

    with_background = True

    def __init__(
        self, num_classes: int, gamma: float = 12.0, mu: float = 0.8, alpha: float = 4.0, prior: float = 0.001
    ):
        super().__init__()
        self.set_prior(prior)
        if alpha < 0:
            raise ValueError(f"alpha must not be negative, got {alpha}")
        self.gamma, self.mu, self.alpha = gamma, mu, alpha
        self.remember(num_classes)

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See SigmoidGroup."""
        ratio = self.ratio(start=100.0)
        negative = (self.gamma * (ratio - self.mu)).sigmoid()
        positive = 1 + self.alpha * (1 - negative)
        weights = torch.where(target > 0, F.pad(positive, (0, 1), value=1.0), F.pad(negative, (0, 1), value=1.0))
        size = (logits.sigmoid() - target).abs() * weights
        self.see(size[:, :-1], target[:, :-1], matched)
        return weights, {"eql_v2/ratio_min": ratio.min(), "eql_v2/ratio_max": ratio.max()}
