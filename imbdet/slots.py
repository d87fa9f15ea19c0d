"""THE MAP: every place where a remedy can act, as a Protocol with shapes.

    records --balance--> records --image_sampler--> indices --augment--> batch
      batch --backbone, neck--> features --proposals--> regions
      regions --matcher--> labels, IoU --region_sampler--> kept --region_features--> head --> logits, deltas
      logits, deltas --classification / regression--> loss per example --weighting--> weighted --objective--> step
      at test: logits --scores--> calibration --> detections

Letters: N images, M objects, R regions (anchors or RoIs) of the batch in one flat row, K classes, C logits a region.
A training slot gets the whole flat batch and returns `(value, stats)`; stats are detached tensors by name, or a Picture
that is drawn when read; the trainer reads them only on the iterations that report. Nothing here may wait for the device
(no `.item()`, no boolean indexing).
"""

from collections.abc import Iterator
from typing import Any, Protocol

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


class Balance(Protocol):
    """Records -> records, once, before training (over- and under-sampling of images).

    Where it has a `describe(before, after) -> str`, the log shows that.
    """

    def __call__(self, records: Any) -> Any: ...


class ImageSampler(Protocol):
    """Which image comes next. `indices(start)` is endless and a pure function of the seed and the position.

    Where it has a `describe() -> str`, the log shows that.
    """

    def indices(self, start: int = 0) -> Iterator[int]: ...


class Augment(Protocol):
    """image uint8 (3, H, W), target {"boxes": (m, 4), "labels": (m,)}, numpy Generator -> image, target."""

    def __call__(self, image: Tensor, target: dict, rng: Any) -> tuple[Tensor, dict]: ...


class Neck(Protocol):
    """{level name: (N, C, H, W)} -> {level name: (N, C', H', W')}, finest first."""

    def __call__(self, features: dict[str, Tensor]) -> dict[str, Tensor]: ...


class Matcher(Protocol):
    """IoU (N, M, A) of the objects with the regions, valid (N, M) -> object index (N, A), IoU (N, A), kind (N, A).

    kind is 1 for foreground, 0 for background, -1 for ignored.
    """

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class RegionSampler(Protocol):
    """Which regions take part: Matched -> mask (R,) bool, before the head is computed.

    `per_image` is the most it keeps of one image (None: all), so that the kept regions have a shape known without
    waiting.
    """

    per_image: int | None

    def __call__(self, matched: Matched) -> tuple[Tensor, Stats]: ...


class Head(Protocol):
    """What a stage makes of pooled features, for fillers of `region_features` that ask."""

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, S, S) -> logits (R, C), deltas (R, K or 1, 4 + V)."""
        ...

    def fixed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the head's weights as constants, so that a gradient reaches the features only."""
        ...

    def scores(self, logits: Tensor) -> Tensor:
        """logits (R, C) -> (R, K) in 0..1, as the classification slot has them, in float32."""
        ...


class RegionFeatures(Protocol):
    """(R, C, S, S) pooled features of the regions -> the same shape; training only.

    It may have three more methods. `build(channels, size)` makes layers that fit. `settle(losses, logits, matched) ->
    losses, stats` adds losses of its own (or takes some away) once the head's are known. `begin_step() -> bool` is told
    that a training step begins (a validation loss is none) and says whether the detector learns in it; where it does
    not, only the filler's own parameters get a gradient (`imbdet/modeling/rest.py`). With it comes `rests`, whether the
    detector rests in the training step that comes next.
    """

    def __call__(self, features: Tensor, matched: Matched, head: Head) -> tuple[Tensor, Stats]: ...


class Classification(Protocol):
    """Owns its logits: how many (`num_logits` for K classes), their first bias, the loss, and how logits become scores.

    `normalizer` is the Normalizer its values are divided by, or None for the criterion's own.
    """

    normalizer: Any

    def num_logits(self, num_classes: int) -> int: ...

    def initial_bias(self, num_classes: int) -> float: ...

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Stats]:
        """logits (R, C) -> (R,) values; those of ignored regions are masked out afterwards by the criterion."""
        ...

    def scores(self, logits: Tensor) -> Tensor:
        """logits (R, C) -> (R, K) in 0..1."""
        ...


class Regression(Protocol):
    """deltas (R, 4 + V), boxes and targets in `matched` -> (R,) values; only foreground counts (the criterion masks the
    rest). V is `extra_values`, what the head predicts for it beside the deltas; 0 for most.

    It may have one more method for test: `deviations(extra (..., V), regions (..., 4)) -> (..., 4)` says in pixels how
    sure each side of the box is; the detector's `voting` gets it beside the boxes.
    """

    extra_values: int

    def __call__(self, deltas: Tensor, matched: Matched, box_coder: Any) -> tuple[Tensor, Stats]: ...


class Weighting(Protocol):
    """Values per region of both losses (R,), Matched -> their weights (R,), (R,), without gradient. OHEM gives 0 or
    1.
    """

    def __call__(
        self, classification: Tensor, regression: Tensor, matched: Matched
    ) -> tuple[tuple[Tensor, Tensor], Stats]: ...


class Normalizer(Protocol):
    """What a summed loss is divided by: Matched -> scalar tensor. May keep a running state (a Module with buffers)."""

    def __call__(self, matched: Matched) -> Tensor: ...


class Objective(Protocol):
    """{name: loss} -> {name: weighted loss}; the total is their plain sum. May have parameters of its own."""

    def __call__(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], Stats]: ...


class Calibration(Protocol):
    """scores (R, K) -> scores (R, K), at test only."""

    def __call__(self, scores: Tensor) -> Tensor: ...


class Proposals(Protocol):
    """Features -> regions. The RPN returns boxes (N, P, 4), valid (N, P), losses, stats."""

    def __call__(
        self, features: dict[str, Tensor], sizes: Tensor, objects: Objects | None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], Stats]: ...
