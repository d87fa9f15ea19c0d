"""ACSL: a class is told that it is absent only by regions that it is confused with, and by few of background.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...structures import Matched
from ._sigmoid_group import SigmoidGroup

KEPT = (0.01, 0.1, 1.0)  #: share of background that teaches rare, common and frequent classes, as in the authors' code


class ACSL(SigmoidGroup):
    """Cross entropy of K + 1 sigmoids, on foreground of the true class and of those with a high score alone.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Wang et al., 2021, arXiv 2104.00885, and the authors' code
    Neutral: ACSL(groups, threshold=0, kept=(1, 1, 1)), which is cross entropy of K + 1 sigmoids
    Differs: every region of background draws for itself, where the authors draw an exact share; classes are rare,
        common and frequent by the groups of the training set; learned from the first step, where the source fine-tunes
        the classifier of a softmax model for 12 epochs

    K + 1 sigmoids, the last for background. Weight of each logit:

        foreground: 1 for the true class and for every logit whose sigmoid is at least `threshold`, else 0
        background: its own logit 1; those of rare, common and frequent classes in 1 %, 10 % and 100 % of the regions
        score_c = sigmoid(z_c)

    On background, the rule of the threshold does not hold, as in the authors' code.

    Args:
        groups: K numbers, 0 rare, 1 common, 2 frequent, -1 for a class without boxes, which is treated as frequent.
        threshold: 0..1, 0.7 in the source. kept: shares of background, as above. prior: see SigmoidLogits.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> [round(share, 2) for share in ACSL([2, 1, 0]).shares.tolist()]
        [1.0, 0.1, 0.01, 1.0]
    """

    shares: Tensor

    with_background = True

    def __init__(
        self, groups: Sequence[int], threshold: float = 0.7, kept: Sequence[float] = KEPT, prior: float = 0.01
    ):
        super().__init__()
        self.set_prior(prior)
        if not (0 <= threshold <= 1 and len(kept) == 3 and all(0 <= share <= 1 for share in kept)):
            raise ValueError(f"threshold and three shares kept must be in 0..1, got {threshold} and {tuple(kept)}")
        self.threshold = threshold
        shares = torch.tensor([kept[group] if group >= 0 else 1.0 for group in groups] + [1.0])
        self.register_buffer("shares", shares, persistent=False)

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See SigmoidGroup."""
        confused = (target > 0) | (logits.sigmoid() >= self.threshold)
        drawn = torch.rand(logits.shape, device=logits.device) < self.shares
        learned = torch.where(matched.background.unsqueeze(1), drawn, confused)
        return learned.to(logits.dtype), {"acsl/learned": learned.float().mean()}

    def scores(self, logits: Tensor) -> Tensor:
        return logits[..., :-1].sigmoid()
