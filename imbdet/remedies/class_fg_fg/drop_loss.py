"""DropLoss: background, too, teaches rare classes their absence only as often as rare objects occur.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor

from ...structures import Matched
from .eql import EQL


class DropLoss(EQL):
    """Equalization loss whose rare negatives on background are kept at random, at the share of rare objects.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Hsieh et al., 2021, arXiv 2104.06402, section 3.3
    Neutral: DropLoss(shares, quantile=0), without a rare class, which is sigmoid cross entropy
    Differs: as in EQL. In a batch without foreground, where the authors' share is not a number, it is 0, so that no
        rare negative is kept

    With b the share of the batch's foreground regions that are of rare classes, the negatives of a rare class are
    dropped on foreground, and on background each with the probability 1 - b.

    Args:
        image_shares, threshold, quantile, prior: as of EQL.

    Example:
        >>> DropLoss([0.5, 0.2, 0.01], threshold=0.05).rare.tolist()
        [False, False, True]
    """

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See SigmoidGroup."""
        foreground = matched.foreground
        of_rare = (target * self.rare).sum()
        share = of_rare / foreground.sum().clamp(min=1)
        drawn = torch.rand(target.shape, device=target.device) > share
        dropped = self.rare & (target == 0) & (foreground.unsqueeze(1) | drawn)
        return 1 - dropped.to(logits.dtype), {"drop_loss/rare_share": share}
