"""Rank and sort loss: positives rank above negatives, and among each other by the IoU of their boxes.

Letters: R regions, K classes, P positives, Q negatives.
"""

import torch
from torch import Tensor

from ...modeling.boxes import paired_iou
from ...structures import Matched
from ._ranking import RankingLoss, ranked


class RSLoss(RankingLoss):
    """A ranking error against the negatives and a sorting error among the positives, each with its own update.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet
    Source: Oksuz, Cam, Akbas, Kalkan, 2021, arXiv 2107.11669, equations 4 to 9, and the authors' code
    Neutral: RSLoss(sort=False), which is the ranking error alone
    Differs: only the classification part: the box loss that is weighted by scores and made as large as this one each
        step is an `objective`, and all proposals without a sampler a `region_sampler`; at most `positives` and
        `negatives` logits are ranked, those of the highest values; each process ranks its own batch

    With H as in APLoss, y_i the IoU of the positive's regressed box, and for each positive i, sums over positives j
    including i (H_ii = 1):

        FP_i = sum_{j in Q} H(z_j - z_i),  rank+_i = sum_j H_ij,  rank_i = rank+_i + FP_i
        ranking_i = FP_i / rank_i
        current_i = sum_j H_ij (1 - y_j) / rank+_i;  target_i = the same over j with y_j >= y_i alone
        sorting_i = max(0, current_i - target_i);    L = 1/|P| sum_i (ranking_i + sorting_i)

    A positive's gradient is minus its two errors; its ranking error is shared by the negatives in proportion to H, its
    sorting error by the positives above it of lower IoU. All over |P|. Without positives it is 0. Memory: see
    `_ranking.py`.

    Args:
        delta: 0.5 in the source. prior: probability of every class before training.
        sort: whether positives are sorted.
        positives, negatives: the most that are compared.
        normalizer: what the sum is divided by; `Foreground` gives the formula above.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> RSLoss().delta
        0.5
    """

    def __init__(
        self,
        delta: float = 0.5,
        prior: float = 0.01,
        sort: bool = True,
        positives: int = 1000,
        negatives: int = 5000,
        normalizer=None,
    ):
        super().__init__(delta, prior, positives, negatives, normalizer)
        self.sort = sort

    def errors(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Tensor, dict]:
        seen = ranked(logits, matched, self.positives, self.negatives)
        own, other = seen.above(self.delta)
        own = own + torch.diag(seen.positive_there.to(own.dtype))
        rank = own.sum(dim=1)
        share = other / (rank + other.sum(dim=1)).clamp(min=1).unsqueeze(1)
        ranking = share.sum(dim=1)
        error, positive = ranking, -ranking
        stats = {"rs/ranking": ranking.sum() / seen.positive_there.sum().clamp(min=1)}
        if self.sort:
            quality = paired_iou(matched.regressed().float(), matched.targets).clamp(0, 1)
            quality = quality[seen.positive_places // logits.shape[1]]
            sorting, blame = _sorting(own, rank, quality)
            error, positive = error + sorting, positive - sorting + blame
            stats["rs/sorting"] = sorting.sum() / seen.positive_there.sum().clamp(min=1)
        return *self.spread(logits, seen, error, positive, share.sum(dim=0)), stats


def _sorting(own: Tensor, rank: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """H (P, P) with 1 on the diagonal, its sums (P,), IoU (P,) -> sorting error (P,), what others' errors put on each
    positive (P,).
    """
    right = own * (quality.unsqueeze(0) >= quality.unsqueeze(1))  # rivals that are above with reason
    current = own @ (1 - quality) / rank.clamp(min=1e-10)
    target = right @ (1 - quality) / right.sum(dim=1).clamp(min=1e-10)
    error = (current - target).clamp(min=0)
    wrong = own - right
    return error, (error / wrong.sum(dim=1).clamp(min=1e-10)) @ wrong
