"""Class weights: regions of rare classes count more in the classification loss.

What the weights are is a rule of its own (`InversePower`, `ByName`, and `EffectiveNumber` in effective_number.py), so
that another one is another small class. `ClassWeights` scales and applies them.
Letters: R regions, K classes.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ...data.statistics import takes_part
from ...slots import Weighting
from ...structures import Matched


class ClassWeights(nn.Module, Weighting):
    """Multiplies the classification loss of each foreground region by a weight of its class.

    Slot: weighting
    Imbalance: class_fg_fg
    Home: either
    Source: common practice, e.g. class_weight="balanced" of scikit-learn (Pedregosa et al. 2011, arXiv 1201.0490),
        which is InversePower(power=1); the square root as in the sampling of Mahajan et al. 2018, arXiv 1805.00932
    Neutral: rule=InversePower(power=0), which weighs every region 1
    Differs: the mean over the train boxes is 1, so that the size of the whole loss stays about what it was and a gain
        is not one of loss scale; background and the regression loss keep the weight 1

    With n_c the train boxes of class c, v_c what the rule says of them, N = sum_c n_c:

        w_c = v_c N / sum_k n_k v_k      (mean over boxes 1);   w_c = v_c K / sum_k v_k   (mean over classes 1)

    Sums and K go over the classes that have train boxes. One that has none never has a region to weigh: it is in no
    mean, and 1 stands in its place.

    A weight belongs to a region, not to a logit. Under softmax that is the usual weighted cross entropy. Under sigmoid,
    all K logits of a foreground region take the weight of its class, the negatives of the other classes with it, and
    background regions keep 1: a rare class's positives count w_c where its many negatives on background count 1.

    Args:
        counts: K numbers, the train boxes of each class.
        class_names: K names, for messages, for the log, and for rules that go by name.
        rule: (counts (K,) float64, names) -> (K,) float64 weights of any scale. Of classes without boxes
            it gets the count 1, and what it says of them is not used.
        mean_over_boxes: False makes the mean over classes 1 instead, as Cui et al. (2019) do; the loss then shrinks,
            as frequent classes have most boxes.

    Raises:
        ValueError: the numbers of counts and names differ, or the rule gives weights that are negative, not finite or
            all zero.

    Example:
        >>> ClassWeights([90, 10], ["circle", "star"], InversePower(power=1)).table.tolist()
        [0.5555555820465088, 5.0, 1.0]
    """

    table: Tensor

    def __init__(
        self,
        counts: Sequence[int],
        class_names: Sequence[str],
        rule: Callable[[Tensor, Sequence[str]], Tensor],
        mean_over_boxes: bool = True,
    ):
        super().__init__()
        if len(counts) != len(class_names):
            raise ValueError(f"{len(counts)} counts for {len(class_names)} class names; both must be of the train set")
        self.class_names = list(class_names)
        self.mean_over_boxes = mean_over_boxes
        self.rule = rule
        n = torch.as_tensor(counts, dtype=torch.float64)
        present = torch.from_numpy(takes_part(n)) if n.any() else torch.ones(len(n), dtype=torch.bool)
        self._present, n = present.tolist(), n.clamp(min=1)
        weights = rule(n, self.class_names)
        if not torch.isfinite(weights).all() or (weights < 0).any() or not weights[present].any():
            raise ValueError(f"class weights must be finite, not negative and not all 0, got {self._listed(weights)}")
        shares = (n if mean_over_boxes else torch.ones_like(n)) * present
        weights = weights / (shares / shares.sum() * weights).sum()
        weights = weights.where(present, 1.0)
        # A buffer, so that it moves to the device with the model; not saved, as it comes from the data.
        self.register_buffer("table", torch.cat([weights, weights.new_ones(1)]).float(), persistent=False)

    def forward(
        self, classification: Tensor, regression: Tensor, matched: Matched
    ) -> tuple[tuple[Tensor, Tensor], dict]:
        """Map (R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        foreground = matched.foreground
        weights = self.table[matched.labels.where(foreground, matched.num_classes)]
        mean = (weights * foreground).sum() / foreground.sum().clamp(min=1)
        return (weights, torch.ones_like(regression)), {"class_weights/foreground_mean": mean}

    def describe(self) -> str:
        """Return one line for the log."""
        over = "train boxes" if self.mean_over_boxes else "classes"
        return f"class weights by {self.rule}, mean over {over} 1: {self._listed(self.table[:-1])}"

    def _listed(self, weights: Tensor) -> str:
        listed = zip(self.class_names, weights.tolist(), self._present, strict=True)
        return ", ".join(f"{name} {w:.3g}" for name, w, present in listed if present)


class InversePower:
    """Rule: v_c = n_c^-power.

    Args:
        power: 0 (all alike) .. 1 (inverse frequency: every class has the same sum of weights over its boxes); 0.5 is
            the square root, a compromise that trusts a few boxes less.
    """

    def __init__(self, power: float = 0.5):
        if not 0 <= power <= 1:
            raise ValueError(f"power must be in 0 (no weights) .. 1 (inverse frequency), got {power}")
        self.power = power

    def __call__(self, counts: Tensor, class_names: Sequence[str]) -> Tensor:
        """(K,), K names -> (K,)."""
        return counts**-self.power

    def __str__(self) -> str:
        return f"boxes^-{self.power:g}"


class ByName:
    """Rule: weights that are given.

    Args:
        weights: {class name: weight}, where classes that are not named take 1; or a list of K weights in the order of
            the labels.
    """

    def __init__(self, weights: Mapping[str, float] | Sequence[float]):
        given = weights.values() if isinstance(weights, Mapping) else weights
        if isinstance(weights, str) or not all(_is_weight(w) for w in given):
            raise ValueError(f"weights must be a mapping from class name to a number >= 0, or a list, got {weights!r}")
        self.weights = weights

    def __call__(self, counts: Tensor, class_names: Sequence[str]) -> Tensor:
        """(K,), K names -> (K,). Raises ValueError for an unknown name and for a list of another length."""
        if not isinstance(self.weights, Mapping):
            if len(self.weights) != len(class_names):
                raise ValueError(
                    f"{len(self.weights)} class weights for {len(class_names)} classes: {', '.join(class_names)}"
                )
            return torch.tensor(list(self.weights), dtype=torch.float64)
        for name in self.weights:
            if name not in class_names:
                near = difflib.get_close_matches(str(name), class_names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the classes are {', '.join(class_names)}"
                raise ValueError(f"there is no class {name!r} to give a weight to; {hint}")
        return torch.tensor([self.weights.get(name, 1.0) for name in class_names], dtype=torch.float64)

    def __str__(self) -> str:
        return "name"


def _is_weight(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
