"""AP loss: one minus the average precision of the batch, learned by an update driven by its errors.

Letters: R regions, K classes, P positives, Q negatives.
"""

from torch import Tensor

from ...structures import Matched
from ._ranking import RankingLoss, ranked


class APLoss(RankingLoss):
    """Positives are to rank above negatives; how far below one is, and how many stand between, decides its pull.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet
    Source: Chen, Li, Lin, See, Wang, Duan, Chen, He, Zou, 2019, arXiv 2008.07294, sections 3.2 and 3.3
    Neutral: none; it has no term of a single region
    Differs: precision is not interpolated (the source makes it monotone from the lowest positive upwards); at most
        `positives` and `negatives` logits are ranked, those of the highest values; in training with several processes
        each ranks its own batch. The source trains 100 epochs at learning rate 0.002

    With z all logits of the batch, regions x classes, H(x) = clamp(x / (2 delta) + 1/2, 0, 1), P the positives, Q the
    negatives, for each positive i:

        FP_i = sum_{j in Q} H(z_j - z_i),    rank_i = 1 + sum_{j in P, j != i} H(z_j - z_i) + FP_i
        L = 1/|P| sum_i FP_i / rank_i,    dL/dz_i = -FP_i / rank_i / |P|,    dL/dz_j = sum_i H(z_j - z_i) / rank_i / |P|

    The number of negatives does not enter but by those that rank above: a hundred thousand easy ones cost nothing.
    Without positives it is 0. Memory: see `_ranking.py`.

    Args:
        delta: 1 in the source. prior: probability of every class before training.
        positives, negatives: the most that are compared.
        normalizer: what the sum is divided by; `Foreground` gives the formula above.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> APLoss().delta
        1.0
    """

    def __init__(
        self,
        delta: float = 1.0,
        prior: float = 0.01,
        positives: int = 1000,
        negatives: int = 5000,
        normalizer=None,
    ):
        super().__init__(delta, prior, positives, negatives, normalizer)

    def errors(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Tensor, dict]:
        seen = ranked(logits, matched, self.positives, self.negatives)
        _, _, share = seen.blame(self.delta)  # (P, Q): who is to blame
        error = share.sum(dim=1)
        return *self.spread(logits, seen, error, -error, share.sum(dim=0)), {}
