"""Probabilistic anchor assignment: two Gaussians part the losses of an object's regions into low and high ones.

Letters: N images, M objects, A regions of one image, R = N*A, L levels, S = L * topk candidates of an object.
"""

import math

import torch
from torch import Tensor

from ...modeling.defaults import ThresholdMatcher
from ...structures import Matched, Objects
from ._places import nearest_of_level

SMALLEST = 1e-6  #: added to every variance, as scikit-learn does
MOST = 1e6  #: a loss above it, or none, counts as this much
CONVERGED = 1e-3  #: change of the mean log-likelihood at which an object's mixture is left alone


class PAA(ThresholdMatcher):
    """Foreground are the regions of each object whose loss belongs to the lower of two Gaussians, up to its peak.

    Slot: matcher
    Imbalance: spatial_location
    Home: retinanet alone, and the RPN (`paa@rpn`); RoI heads match once, before they predict
    Source: Kim, Lee, 2020, arXiv 2007.08103, sections 3.1 and 3.2, figure 3 (c), and the authors' code
    Neutral: PAA(topk=0), which is the first pass, ThresholdMatcher with its thresholds
    Differs: the assignment alone. The branch that predicts IoU, the scores multiplied by it, score voting and the box
        loss weighted by IoU are not part of it, nor is one square anchor a cell. The losses are the criterion's own,
        with their weights (focal loss and 1.3 GIoU there). The mixture is fitted by expectation and maximization for
        all objects at once, for at most `steps` steps, where scikit-learn's has up to 100

    The first pass takes every region of IoU 0.1 and more, and the best of each object. Of an object's regions the
    `topk` of lowest loss on each level are candidates. A mixture of two Gaussians is fitted to their losses, which
    begins at the lowest and the highest loss with deviation 1 and equal weights; of the candidates of the lower
    Gaussian those up to the most likely one become foreground, everything else background. An object with fewer than
    two candidates gets none, as in the source.

    Args:
        topk: candidates a level, 9 in the source; 0 leaves the first pass.
        steps: of the mixture's fit.
        foreground, background, best_for_each_object: of the first pass, 0.1, 0.1 and True in the source.

    Raises:
        ValueError: a negative topk, steps below 1.

    Example:
        >>> PAA().topk
        9
    """

    def __init__(
        self,
        foreground: float = 0.1,
        background: float = 0.1,
        best_for_each_object: bool = True,
        topk: int = 9,
        steps: int = 20,
    ):
        super().__init__(foreground, background, best_for_each_object)
        if topk < 0 or steps < 1:
            raise ValueError(f"topk must be 0 or more and steps at least 1, got topk {topk} and steps {steps}")
        self.topk, self.steps = topk, steps
        self.levels = 1

    def build(self, strides: tuple[int, ...]) -> None:
        self.levels = len(strides)

    def rematch(self, matched: Matched, objects: Objects, logits: Tensor, outputs: Tensor, criterion) -> Matched:
        if not self.topk:
            return matched
        (classification, regression), _ = criterion.values(logits, outputs, matched)
        loss = criterion.classification_weight * classification + criterion.regression_weight * regression
        n, m = objects.labels.shape
        image = torch.arange(n, device=loss.device).unsqueeze(1)
        index = (matched.objects.view(n, -1) - image * m).clamp(min=0)
        own = index.unsqueeze(1) == torch.arange(m, device=loss.device).view(1, m, 1)  # (N, M, A)
        own = own & matched.foreground.view(n, 1, -1) & objects.valid.unsqueeze(2)
        cost = torch.where(own, loss.view(n, 1, -1).nan_to_num(nan=MOST).clamp(max=MOST), math.inf)
        places = [nearest_of_level(cost, matched.levels.view(n, -1), i, self.topk) for i in range(self.levels)]
        place, there = (torch.cat(x, dim=2) for x in zip(*places, strict=True))  # (N, M, S)

        good = lower_part(cost.gather(2, place), there, self.steps)
        taken = torch.zeros_like(cost).scatter_reduce(2, place, good.to(cost.dtype), "amax").amax(dim=1)
        return criterion.assign(matched, objects, index, matched.iou.view(n, -1), taken.to(torch.int8))


def lower_part(loss: Tensor, there: Tensor, steps: int) -> Tensor:
    """Which of the losses (..., S), of which `there` (..., S) count, belong to the lower of two Gaussians, up to its
    most likely one: (..., S) bool, none where fewer than two count.
    """
    x = loss.double().masked_fill(~there, 0.0).unsqueeze(-1)  # (..., S, 1)
    inside = there.unsqueeze(-1).double()
    count = inside.sum(dim=-2)  # (..., 1)
    ends = (
        loss.double().masked_fill(~there, math.inf).amin(dim=-1),
        loss.double().masked_fill(~there, -math.inf).amax(dim=-1),
    )
    mean = torch.stack(ends, dim=-1).unsqueeze(-2).nan_to_num(posinf=0.0, neginf=0.0)  # (..., 1, 2)
    variance, share = torch.ones_like(mean), torch.full_like(mean, 0.5)
    before, moving = torch.full_like(count, -math.inf), torch.ones_like(count, dtype=torch.bool)
    for _ in range(steps):
        density = _log_density(x, mean, variance, share)
        whole = density.logsumexp(dim=-1, keepdim=True)
        weight = (density - whole).exp() * inside
        now = (whole * inside).sum(dim=-2) / count.clamp(min=1)

        each = weight.sum(dim=-2, keepdim=True) + 10 * torch.finfo(x.dtype).eps
        new = (weight * x).sum(dim=-2, keepdim=True) / each
        spread = (weight * (x - new).square()).sum(dim=-2, keepdim=True) / each + SMALLEST
        go = moving.unsqueeze(-1)
        mean, variance = torch.where(go, new, mean), torch.where(go, spread, variance)
        share = torch.where(go, each / each.sum(dim=-1, keepdim=True), share)
        moving, before = moving & ((now - before).abs() >= CONVERGED), now
    density = _log_density(x, mean, variance, share)
    lower = there & (density[..., 0] >= density[..., 1])
    likely = density.logsumexp(dim=-1).masked_fill(~lower, -math.inf)
    peak = x.squeeze(-1).gather(-1, likely.argmax(dim=-1, keepdim=True))
    return lower & (x.squeeze(-1) <= peak) & (count >= 2)


def _log_density(x: Tensor, mean: Tensor, variance: Tensor, share: Tensor) -> Tensor:
    """x (..., S, 1); the others (..., 1, 2) -> log of share times density (..., S, 2)."""
    return share.log() - 0.5 * ((2 * math.pi * variance).log() + (x - mean).square() / variance)
