"""aLRP loss: one ranking of all logits trains scores and boxes, so that what ranks high has to fit well.

Letters: R regions, K classes, P positives, Q negatives.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Coupling
from ...structures import Matched
from ..spatial_regression.giou_loss import GIoULoss
from ._ranking import RankingLoss, ranked

BARELY = 1e-5  #: negatives above a positive below which it is left alone, as in the authors' code


class ALRPLoss(RankingLoss):
    """AP loss whose positives are pulled up more where those that rank above them fit badly.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet alone, and the RPN (`alrp_loss@rpn`); RoI heads may have boxes and scores in two criteria
    Source: Oksuz, Cam, Akbas, Kalkan, 2020, arXiv 2009.13592, section 4, and the authors' code
    Neutral: ALRPLoss(tau=-inf), whose boxes all fit: AP loss
    Differs: dense heads alone, where the source trains Faster R-CNN and FoveaBox, too; at most `positives` and
        `negatives` logits are ranked, those of the highest values; each process ranks its own batch; without positives
        it is 0, without a gradient, as in the source. The source trains 100 epochs

    With H, FP_i and rank_i as in APLoss and e_j = (1 - GIoU_j) / (2 (1 - tau)) of the regressed box, without gradient:

        L = 1/|P| sum_i FP_i / rank_i,    g_i = (FP_i + sum_{j in P, j != i} H(z_j - z_i) e_j) / rank_i
        dL/dz_i = -g_i / |P|,    dL/dz_j = sum_i H(z_j - z_i) / FP_i g_i / |P|

    where FP_i > 1e-5; a positive without negatives above it has no gradient. The value L is the error of ranking; the
    boxes' part of the total is `ALRPBoxes`. Memory: see `_ranking.py`.

    Args:
        tau: IoU from which a region is foreground, below 1; 0.5 in the source on RetinaNet.
        delta: 1 in the source. prior: probability of every class before training.
        positives, negatives: the most that are compared.
        normalizer: what the sum is divided by; `Foreground` gives the formula above.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> ALRPLoss().tau
        0.5
    """

    def __init__(
        self,
        tau: float = 0.5,
        delta: float = 1.0,
        prior: float = 0.01,
        positives: int = 1000,
        negatives: int = 5000,
        normalizer=None,
    ):
        super().__init__(delta, prior, positives, negatives, normalizer)
        if not tau < 1:
            raise ValueError(f"tau is an IoU below 1, got {tau}")
        self.tau = float(tau)

    def errors(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Tensor, dict]:
        seen = ranked(logits, matched, self.positives, self.negatives)
        own, rank, share = seen.blame(self.delta)
        misfit = GIoULoss().between(matched.regressed().to(logits.dtype), matched.targets) / (2 * (1 - self.tau))
        misfit = misfit[seen.positive_places // logits.shape[1]]
        error = share.sum(dim=1)
        wrong = error * rank > BARELY
        pull = torch.where(wrong, error + own @ misfit / rank, 0.0)
        push = share * (pull / error.where(wrong, 1.0)).unsqueeze(1)
        return *self.spread(logits, seen, error, -pull, push.sum(dim=0)), {}


class ALRPBoxes(RunningState, Coupling):
    """The box loss of aLRP: a positive counts by all positives that rank at it or below.

    Slot: coupling
    Imbalance: class_fg_bg
    Home: retinanet alone, and the RPN (`alrp_loss@rpn`); RoI heads may have boxes and scores in two criteria
    Source: Oksuz, Cam, Akbas, Kalkan, 2020, arXiv 2009.13592, section 4, and the authors' code
    Neutral: ALRPBoxes(period, start=0), which adds 0 for the first period
    Differs: a period is a number of steps, a tenth of the training by the config, not an epoch of COCO (3665 steps), as
        short trainings have hardly two of those; it starts at 50 as the source does

    With e_j the criterion's box loss of positive j over 2 (1 - tau), with gradient, and rank_i without:

        L_box = 1/|P| sum_i (sum_{j at i or above} e_j) / rank_i,    loss = w L_box

    w balances the two: after each period it is the mean of L + L_box over that of L_box, L the classification's value
    over |P|. The criterion's own box loss is left out by `regression_weight` 0.

    Args:
        classification: the ALRPLoss beside it, which says what ranks and how.
        period: steps, at least 1. periods: with it, `period` is the length of the training and is divided by it.
        start: w of the first period, 0 or more.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> ALRPBoxes(ALRPLoss(), period=100).weight
        tensor(50., dtype=torch.float64)
    """

    weight: Tensor
    sums: Tensor
    steps: Tensor

    def __init__(self, classification: ALRPLoss, period: int, periods: int = 1, start: float = 50.0):
        super().__init__()
        if period < 1 or periods < 1 or not start >= 0:
            got = f"{period}, {periods} and {start}"
            raise ValueError(f"need period and periods of 1 or more, start of 0 or more, got {got}")
        self.classification = classification
        self.period = max(1, int(period) // periods)
        self.register_buffer("weight", torch.tensor(float(start), dtype=torch.float64))
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))  # of ranking and boxes, this period
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: Tensor, outputs: Tensor, values: tuple[Tensor, Tensor], matched: Matched):
        """logits (R, C), values (R,), (R,) -> {"loss_alrp_box": loss}, stats."""
        one, rule = logits.detach(), self.classification
        seen = ranked(one, matched, rule.positives, rule.negatives)
        rank = seen.blame(rule.delta)[1]
        # positives stand from the highest logit down: each counts for itself and all after it
        share = (seen.positive_there / rank).flip(0).cumsum(dim=0).flip(0) * seen.positive_there
        counts = torch.zeros_like(values[1]).scatter_add(0, seen.positive_places // one.shape[1], share)
        norm = matched.foreground.sum().clamp(min=1)
        boxes = (counts * values[1]).sum() / (2 * (1 - rule.tau)) / norm
        now = torch.stack((values[0].detach().sum() / norm, boxes.detach())).double()
        self.collect(now=now, batches=torch.ones_like(self.weight))
        return {"loss_alrp_box": boxes * self.weight.to(boxes.dtype)}, {"alrp/box_weight": self.weight.clone()}

    def fold(self, now: Tensor, batches: Tensor) -> None:
        self.sums.add_(now / batches)
        self.steps.add_(1)
        over = self.steps % self.period == 0
        ranking, boxes = self.sums
        balanced = torch.where(boxes > 0, (ranking + boxes) / boxes.where(boxes > 0, 1.0), self.weight)
        self.weight.copy_(torch.where(over, balanced, self.weight))
        self.sums.copy_(self.sums.where(~over, 0.0))
