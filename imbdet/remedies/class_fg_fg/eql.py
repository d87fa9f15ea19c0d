"""Equalization loss: objects of other classes do not teach a rare class that it is absent.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

from torch import Tensor

from ...structures import Matched
from ._sigmoid_group import SigmoidGroup, rare_classes


class EQL(SigmoidGroup):
    """Sigmoid cross entropy without the negatives that objects are to the logits of rare classes.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Tan et al., 2020, arXiv 2003.05176
    Neutral: EQL(shares, quantile=0), without a rare class, which is sigmoid cross entropy
    Differs: where the published threshold of 0.00177 (of LVIS's images) would make no class rare, rare is a quantile
        of the classes

        L = sum over j of w_j BCE(z_j, t_j),    w_j = 1 - E T_j (1 - t_j)

    E is 1 for foreground regions, T_j for rare classes. Background still teaches rare classes that they are absent.

    Args:
        image_shares: K shares of the train images that hold each class. threshold: rare is a class in a smaller share;
            None goes by `quantile`, the share of the classes that is rare. prior: 0.001 in the source.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> EQL([0.5, 0.2, 0.01], quantile=1 / 3).rare.tolist()
        [False, False, True]
    """

    rare: Tensor

    def __init__(
        self,
        image_shares: Sequence[float],
        threshold: float | None = None,
        quantile: float = 1 / 3,
        prior: float = 0.001,
    ):
        super().__init__()
        self.set_prior(prior)
        self.register_buffer("rare", rare_classes(image_shares, threshold, quantile), persistent=False)

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See SigmoidGroup."""
        spared = matched.foreground.unsqueeze(1) & self.rare & (target == 0)
        return 1 - spared.to(logits.dtype), {}
