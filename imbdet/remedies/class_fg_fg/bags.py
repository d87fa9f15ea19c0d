"""Balanced group softmax: classes compete only with those that have about as many boxes.

Letters: R regions, K classes, B bins of classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.statistics import takes_part
from ...slots import Classification, Normalizer
from ...structures import Matched


class Whole(Normalizer):
    """Divides by 1: values that are means already."""

    def __call__(self, matched: Matched) -> Tensor:
        return torch.ones((), device=matched.labels.device)


class BAGS(nn.Module, Classification):
    """One softmax for each bin of classes, with "others" as one more, and one for background against all.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Li et al., 2020, arXiv 2006.10408, and the authors' code
    Neutral: BAGS(counts, bins=1, others=inf) has one softmax over the classes with background as "others", beside the
        one of background; the plain softmax is no special case
    Differs: bins are quantiles of the classes where no edges are given, as those of LVIS leave bins empty elsewhere;
        learned from the first step, where the source fine-tunes the classifier of a softmax model for 12 epochs

    Logits are K classes, then "others" of each of the B bins, then background and "others". A region's target in a bin
    is its class if it is in the bin, else "others"; of "others", as many regions are drawn as `others` times those of
    the bin in the batch, none if it has none. The bin of background takes all regions.

        L = sum over bins of the mean cross entropy of its regions;    score_c = softmax of its bin_c (1 -
        P(background))

    Args:
        counts: K numbers, the train boxes of each class; one without boxes is in the rarest bin.
        edges: counts at which bins begin, (10, 100, 1000) in the source; bins without a class are left out. None takes
            quantiles. bins: how many of those, at most one for each class that has boxes.
        others: >= 0, 8 in the source.

    Raises:
        ValueError: a number out of range, or edges that do not grow.

    Example:
        >>> BAGS([500, 40, 30, 5], edges=(10, 100)).bin_of.tolist()
        [2, 1, 1, 0]
    """

    bin_of: Tensor

    def __init__(self, counts: Sequence[int], edges: Sequence[int] | None = None, bins: int = 4, others: float = 8.0):
        super().__init__()
        if bins < 1 or others < 0:
            raise ValueError(f"bins must be at least 1 and others not negative, got {bins} and {others}")
        if edges is not None and list(edges) != sorted(set(edges)):
            raise ValueError(f"edges must grow, got {list(edges)}")
        self.others, self.normalizer = others, Whole()
        n, present = np.asarray(counts), takes_part(counts)
        bin_of = np.zeros(len(n), dtype=np.int64)
        if edges is not None:
            bin_of[present] = np.digitize(n[present], edges)
            bin_of[present] = np.unique(bin_of[present], return_inverse=True)[1]
        elif present.any():
            order = np.flatnonzero(present)[np.argsort(n[present], kind="stable")]
            for index, part in enumerate(np.array_split(order, min(bins, len(order)))):
                bin_of[part] = index
        self.bins = int(bin_of.max(initial=0)) + 1
        self.register_buffer("bin_of", torch.from_numpy(bin_of), persistent=False)

    def num_logits(self, num_classes: int) -> int:
        return num_classes + self.bins + 2

    def initial_bias(self, num_classes: int) -> float:
        return 0.0

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + B + 2) -> (R,), each divided by the regions of its bins already."""
        k = len(self.bin_of)
        labels, foreground = matched.labels.clamp(0, k - 1), matched.foreground
        kind = F.cross_entropy(logits[:, -2:], foreground.long(), reduction="none")
        values = kind * _share(matched.considered)
        for b in range(self.bins):
            inside = foreground & (self.bin_of[labels] == b)
            target = torch.where(inside, labels, k + b)
            loss = -self._log_softmax(logits, b).gather(1, target.unsqueeze(1)).squeeze(1)
            values = values + loss * _share(inside | self._drawn(matched.considered & ~inside, inside))
        return values, {}

    def _log_softmax(self, logits: Tensor, b: int) -> Tensor:
        """(..., K + B + 2) -> (..., K + B): of the bin's classes and its "others"; the lowest number elsewhere."""
        k = len(self.bin_of)
        mine = torch.cat((self.bin_of == b, torch.arange(self.bins, device=logits.device) == b))
        return logits[..., : k + self.bins].masked_fill(~mine, torch.finfo(logits.dtype).min).log_softmax(dim=-1)

    def _drawn(self, candidates: Tensor, inside: Tensor) -> Tensor:
        """(R,) bool: of the candidates, `others` times as many as are inside, at random."""
        priority = torch.rand(candidates.shape, device=candidates.device).masked_fill(~candidates, -1.0)
        order = priority.argsort(descending=True)
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        return candidates & (inside.sum() > 0) & (rank < self.others * inside.sum())

    def scores(self, logits: Tensor) -> Tensor:
        k = len(self.bin_of)
        p = sum(self._log_softmax(logits, b).exp()[..., :k] * (self.bin_of == b) for b in range(self.bins))
        return p * logits[..., -2:].softmax(dim=-1)[..., 1:]


def _share(taken: Tensor) -> Tensor:
    """bool (R,) -> (R,): one over their number where they are taken, else 0."""
    return taken.float() / taken.sum().clamp(min=1)
