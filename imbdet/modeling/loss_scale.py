"""Losses as large as those they replace, so that a comparison is about their shape and not about a weight.

Letters: R regions, C logits a region, V values beside the deltas.
"""

import torch
from torch import Tensor

from ..slots import Classification, Regression, Stats
from ..structures import Matched
from .criterion import Criterion
from .running_state import RunningState

SLOTS = ("classification", "regression")


class ScaledCriterion(Criterion):
    """A criterion whose two losses are as large as those of the slots that its own replace.

    Args:
        loss_scale: says what stood in the slots before, and measures. For the others see Criterion.

    Raises:
        ValueError: the losses before and now do not read the same outputs of the head.
    """

    def __init__(self, *args, loss_scale: "LossScale", **settings):
        super().__init__(*args, **settings)
        loss_scale.check(self.classification, self.regression, self.num_classes)
        self.loss_scale = loss_scale

    def scaled(
        self,
        losses: dict[str, Tensor],
        logits: Tensor,
        outputs: Tensor,
        matched: Matched,
        weights: tuple[Tensor, Tensor] | None,
        norm: Tensor,
    ) -> tuple[dict[str, Tensor], Stats]:
        factors, stats = self.loss_scale(tuple(losses.values()), logits, outputs, matched, weights, norm)
        return {name: loss * factor for (name, loss), factor in zip(losses.items(), factors, strict=True)}, stats


class LossScale(RunningState):
    """For each loss the factor mean(loss before) / mean(loss now), over the first batches of the training.

    "Before" is what another classification or regression makes of the same logits, deltas and regions, under the same
    `weighting` and with its own weight; it is computed without gradient, and only until the factor is settled. Until
    then the factor is the ratio of the means so far. Sums and count are buffers: they resume with a checkpoint, and
    only training moves them. Several processes add up theirs, so that all have one factor.

    Args:
        classification, regression: what filled these slots before; None leaves that loss alone.
        classification_weight, regression_weight: the factors that they had.
        batches: how many are measured.
    """

    before: Tensor
    now: Tensor
    seen: Tensor

    def __init__(
        self,
        classification: Classification | None = None,
        regression: Regression | None = None,
        classification_weight: float = 1.0,
        regression_weight: float = 1.0,
        batches: int = 100,
    ):
        super().__init__()
        if batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}")
        self.classification = classification
        self.regression = regression
        self.weights = (classification_weight, regression_weight)
        self.batches = batches
        self.register_buffer("before", torch.zeros(2))
        self.register_buffer("now", torch.zeros(2))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self._seen: int | None = None  # the same on the host, read once
        self._added = 0  # since the last step

    def check(self, classification: Classification, regression: Regression, num_classes: int) -> None:
        """Raise ValueError if the losses before and now do not read the same outputs of the head."""
        old, new = self.classification, classification
        if old is not None and not _read_alike(old, new, num_classes):
            raise ValueError(
                f"loss_scale=match: {type(new).__name__} and {type(old).__name__}, which it replaces, do not read the "
                f"same logits ({new.num_logits(num_classes)} and {old.num_logits(num_classes)} for {num_classes} "
                "classes, or other scores from them), so their sizes cannot be compared on the same outputs; set "
                "loss_scale=published and the criterion's classification_weight by hand"
            )
        former = self.regression
        if former is not None and (
            former.extra_values not in (0, regression.extra_values) or former.num_values != regression.num_values
        ):
            raise ValueError(
                f"loss_scale=match: {type(former).__name__} needs outputs that {type(regression).__name__} does not "
                "ask for; set loss_scale=published and the criterion's regression_weight by hand"
            )

    def forward(
        self,
        losses: tuple[Tensor, ...],
        logits: Tensor,
        deltas: Tensor,
        matched: Matched,
        weights: tuple[Tensor, Tensor] | None,
        norm: Tensor,
    ) -> tuple[Tensor, dict]:
        """Map the two losses of now and what they were made of -> the factors (2,) of them, stats."""
        before, now = self.before, self.now
        if self.training and self.learns and self._count() < self.batches:
            with torch.no_grad():
                old = torch.stack(self._losses_before(logits, deltas, matched, weights, norm))
            found = self.collect(before=old, now=torch.stack(losses).to(old.dtype))
            self._added += 1
            before, now = before + found["before"], now + found["now"]
        ratio = torch.where((now > 0) & (before > 0), before / now, 1.0)
        stats = {f"loss_scale/{name}": ratio[i] for i, name in enumerate(SLOTS) if getattr(self, name) is not None}
        return ratio, stats

    def _losses_before(self, logits, deltas, matched, weights, norm) -> tuple[Tensor, Tensor]:
        """The losses of the slots before; 0, which leaves the factor 1, for a slot that is left alone."""
        found = [norm.new_zeros(()), norm.new_zeros(())]
        if self.classification is not None:
            own = self.classification.normalizer
            values = self.classification(logits, matched)[0].where(matched.considered, 0.0)
            values = values if weights is None else values * weights[0]
            found[0] = values.sum() * (self.weights[0] / (norm if own is None else own(matched)))
        if self.regression is not None:
            deltas = deltas[:, : self.regression.num_values + self.regression.extra_values]
            values = self.regression(deltas, matched, matched.box_coder)[0].where(matched.foreground, 0.0)
            values = values if weights is None else values * weights[1]
            found[1] = values.sum() * (self.weights[1] / norm)
        return found[0], found[1]

    def fold(self, before: Tensor, now: Tensor) -> None:
        super().fold(before=before, now=now)
        self._seen = self._count() + self._added
        self.seen += self._added
        self._added = 0

    def _count(self) -> int:
        if self._seen is None:  # waits for the device once in a run
            self._seen = int(self.seen)
        return self._seen

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._seen = None
        super()._load_from_state_dict(*args, **kwargs)


def _read_alike(old, new, num_classes: int) -> bool:
    """Whether two classifications take the same number of logits and make the same scores of them."""
    count = old.num_logits(num_classes)
    if count != new.num_logits(num_classes):
        return False
    logits = torch.linspace(-3.0, 3.0, 4 * count).view(4, count)
    with torch.no_grad():
        return torch.allclose(old.scores(logits), new.scores(logits), atol=1e-4)
