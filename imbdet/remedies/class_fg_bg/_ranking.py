"""What losses that rank the batch share: which logits are compared, and a comparison in blocks of bounded memory.

Notable: all logits of the batch, regions x classes, are one list. A logit is a positive where its class is the region's
class; a negative where it is not, in any region that takes part. Classes are ranked against each other. Positives and
negatives are cut to counts known to the host, so that nothing waits: the `positives` positives and the `negatives`
negatives of the highest logits take part, the others get no gradient. Negatives far below all positives have none
anyway.

Memory: three blocks of `positives` x (`positives` + `negatives`) float32, by the defaults 1,000 x 6,000 or 72 MB.

Letters: R regions, C classes, P positives, Q negatives that take part.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...modeling.defaults import SigmoidLogits, one_hot
from ...slots import with_gradient
from ...structures import Matched


@dataclass
class Ranked:
    """logits and places (P,), (Q,) into the R x C list, there (P,), (Q,) bool: False for filler."""

    positives: Tensor
    positive_places: Tensor
    positive_there: Tensor
    negatives: Tensor
    negative_places: Tensor
    negative_there: Tensor

    def above(self, delta: float) -> tuple[Tensor, Tensor]:
        """Return H of each positive's rivals: (P, P) of the other positives (0 on the diagonal), (P, Q) of the
        negatives.

        H(x) = clamp(x / (2 delta) + 1/2, 0, 1) of rival minus positive: 1 above, 0 below, a ramp of 2 delta between.
        """
        own = _step(self.positives.unsqueeze(0) - self.positives.unsqueeze(1), delta)
        own = own * self.positive_there.unsqueeze(0) * self.positive_there.unsqueeze(1)
        own.fill_diagonal_(0.0)
        other = _step(self.negatives.unsqueeze(0) - self.positives.unsqueeze(1), delta)
        return own, other * self.negative_there.unsqueeze(0) * self.positive_there.unsqueeze(1)

    def blame(self, delta: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return H of the other positives (P, P), the rank of each positive (P,) among all, 1 or more, and what share
        of it each negative has (P, Q).
        """
        own, other = self.above(delta)
        rank = 1 + own.sum(dim=1) + other.sum(dim=1)
        return own, rank, other / rank.unsqueeze(1)


def _step(difference: Tensor, delta: float) -> Tensor:
    return (difference / (2 * delta) + 0.5).clamp(0, 1)


def ranked(logits: Tensor, matched: Matched, positives: int, negatives: int) -> Ranked:
    """Map logits (R, C), without gradient -> the highest positives and negatives."""
    truth = (one_hot(matched.labels, logits.shape[1], logits.dtype) > 0).flatten()
    rival = matched.considered.unsqueeze(1).expand_as(logits).flatten() & ~truth
    flat, found = logits.flatten(), []
    for mask, most in ((truth, positives), (rival, negatives)):
        value, place = flat.masked_fill(~mask, -torch.inf).topk(min(most, len(flat)))
        there = torch.isfinite(value)
        found += [value.where(there, 0.0), place, there]
    return Ranked(*found)


class RankingLoss(SigmoidLogits):
    """Base: K independent logits, and how errors of positives become values and gradients of regions.

    Args:
        delta: half the width of the ramp, in logits. prior: see SigmoidLogits.
        positives, negatives: the most that are compared, of the highest logits.
        normalizer: what the sum over positives is divided by.
    """

    def __init__(self, delta: float, prior: float, positives: int, negatives: int, normalizer):
        self.set_prior(prior)
        if not delta > 0 or positives < 1 or negatives < 1:
            raise ValueError(
                f"need delta above 0, positives and negatives of 1 or more, got {delta}, {positives}, {negatives}"
            )
        self.delta, self.positives, self.negatives = float(delta), positives, negatives
        self.normalizer = normalizer

    def errors(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Tensor, dict]:
        """Map logits (R, C), without gradient -> values (R,), gradient (R, C), stats."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """logits (R, K) -> (R,)."""
        with torch.no_grad():
            values, gradient, stats = self.errors(logits.detach(), matched)
        return with_gradient(values, logits, gradient), stats

    def spread(
        self, logits: Tensor, seen: Ranked, error: Tensor, positive: Tensor, negative: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map error (P,) of each positive, its gradient (P,), that of the negatives (Q,) -> values (R,), gradient (R,
        C).

        The value of a region is the error of its positive, so that they sum to the loss.
        """
        flat = torch.zeros(logits.numel(), dtype=logits.dtype, device=logits.device)
        value = flat.scatter_add(0, seen.positive_places, error * seen.positive_there)
        gradient = flat.scatter_add(0, seen.positive_places, positive * seen.positive_there)
        gradient = gradient.scatter_add(0, seen.negative_places, negative * seen.negative_there)
        return value.view_as(logits).sum(dim=1), gradient.view_as(logits)
