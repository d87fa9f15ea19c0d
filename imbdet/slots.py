"""THE MAP: every place where a remedy can act. One base class for each, and one table that says where it lives.

    records --balance--> records --image_sampler--> indices --mix, augment--> batch
      batch --backbone, neck--> features --proposals--> regions
      regions --matcher--> labels, IoU --region_sampler--> kept --region_features--> head --> logits, outputs
      logits, outputs --classification / regression--> loss per example --weighting--> weighted --objective--> step
      at test: logits --scores--> calibration --> detections

Letters: N images, M objects, R regions (anchors or RoIs) of the batch in one flat row, A regions of one image, K
classes, C logits a region, V values that a regression asks for beside the four deltas.

A filler derives from the class of its slot. What it must define is declared there; every other method does nothing
until a filler overrides it, so nobody asks whether a method exists. A filler with parameters or buffers derives from
`nn.Module` too, in any order, and defines `forward`.

A training slot gets the whole flat batch and returns `(value, stats)`; stats are detached tensors by name, or a Picture
that is drawn when read; the trainer reads them only on the iterations that report. Nothing here may wait for the device
(no `.item()`, no boolean indexing). What a filler remembers from step to step follows one rule: see
`imbdet.modeling.running_state`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the table is read where torch is not needed
    from torch import Tensor

    from .structures import Matched, Objects

Stats = dict[str, Any]

#: slot -> where it lives in the config of a detector with that slot (first path that exists wins)
SLOTS = {
    "balance": ("dataloader.train.balance",),
    "image_sampler": ("dataloader.train.image_sampler",),
    "augment": ("dataloader.train.augment",),
    "neck": ("model.neck",),
    "proposals": ("model.rpn", "model.anchors"),
    "matcher": ("model.criterion.matcher", "model.roi_heads.criterion.matcher"),
    "region_sampler": ("model.criterion.region_sampler", "model.roi_heads.criterion.region_sampler"),
    "region_features": ("model.roi_heads.region_features",),
    "classification": ("model.criterion.classification", "model.roi_heads.criterion.classification"),
    "regression": ("model.criterion.regression", "model.roi_heads.criterion.regression"),
    "weighting": ("model.criterion.weighting", "model.roi_heads.criterion.weighting"),
    "objective": ("model.objective",),
    "calibration": ("model.calibration",),
    # whole parts, for remedies that change the structure; a slot inside of one is found first
    "roi_heads": ("model.roi_heads",),
    "dense_heads": ("model.criterion",),
}


class Slot:
    """Base of all slots. The `__call__` that a slot declares is for readers and type checkers: it is taken away here,
    since it would hide that of `nn.Module`, which calls `forward`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ == __name__ and "__call__" in vars(cls):
            del cls.__call__

    def describe(self) -> str:
        """What it does with its settings, for the log before the first step; "" says nothing."""
        return ""


class Balance(Slot):
    """Records -> records, once, before training (over- and under-sampling of images)."""

    def __call__(self, records: Any) -> Any: ...

    def report(self, before: Any, after: Any) -> str:
        """What was done to the records, for the log; "" says nothing."""
        return ""


class ImageSampler(Slot):
    """Which image comes next. `indices(start)` is endless and a pure function of the seed and the position."""

    def indices(self, start: int = 0) -> Iterator[int]:
        raise NotImplementedError


class Augment(Slot):
    """image uint8 (3, H, W), target {"boxes": (m, 4), "labels": (m,)}, numpy Generator -> image, target."""

    def __call__(self, image: Tensor, target: dict, rng: Any) -> tuple[Tensor, dict]: ...


class Neck(Slot):
    """{level name: (N, C, H, W)} -> {level name: (N, C', H', W')}, finest first."""

    def __call__(self, features: dict[str, Tensor]) -> dict[str, Tensor]: ...


class Proposals(Slot):
    """Features -> regions: boxes (N, P, 4), valid (N, P), losses, stats."""

    def __call__(
        self, features: dict[str, Tensor], sizes: Tensor, objects: Objects | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], Stats]: ...


class Matcher(Slot):
    """IoU (N, M, A) of the objects with the regions, valid (N, M) -> object index (N, A), IoU (N, A), kind (N, A).

    kind is 1 for foreground, 0 for background, -1 for ignored.
    """

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class RegionSampler(Slot):
    """Which regions take part: Matched -> mask (R,) bool, before the head is computed.

    `per_image` is the most it keeps of one image (None: all), so that the kept regions have a shape known without
    waiting.
    """

    per_image: int | None

    def __call__(self, matched: Matched) -> tuple[Tensor, Stats]: ...


class Head(Slot):
    """What a stage makes of pooled features, for fillers of `region_features` that ask."""

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, S, S) -> logits (R, C), outputs (R, K or 1, 4 + V)."""
        ...

    def fixed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the head's weights as constants, so that a gradient reaches the features only."""
        raise NotImplementedError

    def scores(self, logits: Tensor) -> Tensor:
        """logits (R, C) -> (R, K) in 0..1, as the classification slot has them, in float32."""
        raise NotImplementedError


class RegionFeatures(Slot):
    """(R, C, S, S) pooled features of the regions -> the same shape; training only."""

    def __call__(self, features: Tensor, matched: Matched, head: Head) -> tuple[Tensor, Stats]: ...

    def build(self, channels: int, size: int) -> None:
        """Make the layers that fit: C and S of what will come."""

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], Stats]:
        """Add losses of one's own (or take some away) once the head's are known."""
        return losses, {}


class Phased(Slot):
    """A filler beside its slot that learns in turns with the detector (`imbdet/modeling/rest.py`).

    rests: whether the detector rests in the training step that comes next; such steps are no iterations.
    """

    rests: bool

    def begin_step(self) -> bool:
        """Called once when a training step begins, not for validation losses. False freezes the detector for this
        step: only the filler's own parameters get a gradient.
        """
        raise NotImplementedError


class Classification(Slot):
    """Owns its logits: how many, their first bias, the loss, and how logits become scores.

    normalizer: the Normalizer that its values are divided by, or None for the criterion's own. Every filler sets it
    (there is no default in this class, as it would hide a normalizer that is a module).

    A loss that ranks the whole batch returns one value a region, too: `with_gradient` gives each the gradient that was
    worked out for it.
    """

    normalizer: Normalizer | None

    def num_logits(self, num_classes: int) -> int:
        """C for K classes."""
        raise NotImplementedError

    def initial_bias(self, num_classes: int) -> float | Tensor:
        """First bias of the logits: one number, or (C,) one for each."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Stats]:
        """logits (R, C) -> (R,) values; those of ignored regions are masked out afterwards by the criterion."""
        ...

    def scores(self, logits: Tensor) -> Tensor:
        """logits (..., C) -> (..., K) in 0..1."""
        raise NotImplementedError

    def background(self, logits: Tensor) -> Tensor | None:
        """logits (..., C) -> score of background (...) where the scores of a region and this one add up to 1 (softmax);
        None where each class is scored by itself (sigmoid).
        """
        return None


class Regression(Slot):
    """outputs (R, 4 + V), boxes and targets in `matched` -> (R,) values; only foreground counts (the criterion masks
    the rest). V is `extra_values`, what the head predicts for it beside the deltas; 0 for most.
    """

    extra_values: int = 0

    def __call__(self, deltas: Tensor, matched: Matched, box_coder: Any) -> tuple[Tensor, Stats]: ...

    def deviations(self, extra: Tensor, regions: Tensor) -> Tensor | None:
        """At test: the values beside the deltas (..., V) of regions (..., 4) -> how sure each side of the box is, in
        pixels (..., 4), for the detector's `voting`; None where nothing is predicted of it.
        """
        return None


class Weighting(Slot):
    """Values per region of both losses (R,), Matched -> their weights (R,), (R,), without gradient. OHEM gives 0 or
    1.
    """

    def __call__(
        self, classification: Tensor, regression: Tensor, matched: Matched
    ) -> tuple[tuple[Tensor, Tensor], Stats]: ...


class Normalizer(Slot):
    """What a summed loss is divided by: Matched -> scalar tensor."""

    def __call__(self, matched: Matched) -> Tensor: ...


class Objective(Slot):
    """{name: loss} -> {name: weighted loss}; the total is their plain sum. May have parameters of its own."""

    def __call__(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], Stats]: ...


class Calibration(Slot):
    """scores (..., K), background (...) or None -> scores (..., K), at test only, before any threshold.

    `background` is what `Classification.background` says: the score of background where it and the scores of a region
    add up to 1, None where each class is scored by itself. A cascade calibrates every stage's scores and then takes the
    mean; where a score is multiplied by a predicted IoU, that comes afterwards.
    """

    def __call__(self, scores: Tensor, background: Tensor | None) -> Tensor: ...

    def logits(self, logits: Tensor) -> Tensor:
        """logits (..., C) -> (..., C), before they become scores; the first K are those of the classes."""
        return logits


def with_gradient(value: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """`value` with a gradient that was worked out by hand, for losses that autograd cannot follow (ranks, sorting).

    Args:
        value: (R,) what each region costs. logits: (R, C). gradient: (R, C) of the region's value, a constant.

    Returns:
        (R,) equal to `value`, whose derivative by `logits` is `gradient`.
    """
    surrogate = (logits * gradient.detach()).sum(dim=1)
    return value.detach() + (surrogate - surrogate.detach())
