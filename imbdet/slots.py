"""THE MAP: every place where a remedy can act. One base class for each, and one table that says where it lives.

    records --balance--> records --image_sampler--> indices --mix, augment--> batch
      batch --backbone, neck--> features --proposals--> regions
      regions --matcher--> labels, IoU --region_sampler--> kept --region_features--> head --> logits, outputs
      logits, outputs --classification / regression, coupling--> loss per example --weighting--> weighted
        --objective--> step
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

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # the table is read where torch is not needed
    from torch import Tensor

    from .modeling.criterion import Criterion
    from .structures import Matched, Objects

Stats = dict[str, Any]

#: where a criterion lives, by the place that a remedy can be sent to (`--remedy focal_loss@rpn`)
CRITERIA = {"dense": "model.criterion", "rpn": "model.rpn.criterion", "roi": "model.roi_heads.criterion"}
#: the slots of a criterion
IN_CRITERION = ("matcher", "region_sampler", "classification", "regression", "weighting", "coupling")


def _in_criterion(slot: str) -> tuple[str, ...]:
    """Of the criterion that classifies the final boxes; that of the RPN is reached by its place."""
    return tuple(f"{CRITERIA[place]}.{slot}" for place in ("dense", "roi"))


#: slot -> where it lives in the config of a detector with that slot (first path that exists wins)
SLOTS = {
    "balance": ("dataloader.train.balance",),
    "image_sampler": ("dataloader.train.image_sampler",),
    "mix": ("dataloader.train.mix",),
    "augment": ("dataloader.train.augment",),
    "neck": ("model.neck",),
    "proposals": ("model.rpn", "model.anchors"),
    "matcher": _in_criterion("matcher"),
    "region_sampler": _in_criterion("region_sampler"),
    "region_features": ("model.roi_heads.region_features",),
    "classifier": ("model.roi_heads.classifier",),
    "classification": _in_criterion("classification"),
    "regression": _in_criterion("regression"),
    "weighting": _in_criterion("weighting"),
    "coupling": _in_criterion("coupling"),
    "objective": ("model.objective",),
    "calibration": ("model.calibration",),
    # whole parts, for remedies that change the structure; a slot inside of one is found first
    "roi_heads": ("model.roi_heads",),
    "dense_heads": ("model.criterion",),
}


def slots_of(cfg: DictConfig) -> dict[str, tuple[str, str]]:
    """Return {slot: (config key, what fills it)} of every slot in `cfg`, in the order of the data flow.

    What fills it is the `_target_` of the node, "(default)" for null, else the value itself.
    """
    container = OmegaConf.to_container(cfg, resolve=False)
    found = {}
    for slot, paths in SLOTS.items():
        for path in paths:
            value, there = _select(container, path)
            if there:
                found[slot] = (path, _filler(value))
                break
    return found


def slot_at(path: str) -> str:
    """Return the slot that a config key belongs to, "" if none: "augment" for "dataloader.train.augment.0.size"."""
    for slot, places in SLOTS.items():
        if is_inside(path, places):
            return slot
    return ""


def is_inside(name: str, names: Iterable[str]) -> bool:
    """Return whether a dotted name, of a config key or a module, is one of `names` or below one."""
    return any(name == other or name.startswith(f"{other}.") for other in names)


def _select(container: Any, path: str) -> tuple[Any, bool]:
    for key in path.split("."):
        if not isinstance(container, dict) or key not in container:
            return None, False
        container = container[key]
    return container, True


def _filler(value: Any) -> str:
    if value is None:
        return "(default)"
    if isinstance(value, dict):
        return str(value.get("_target_", "(settings)"))
    if isinstance(value, list):
        return ", ".join(_filler(item) for item in value) or "(none)"
    return str(value)


class Slot:
    """Base of all slots. The `__call__` that a slot declares is for readers and type checkers: it is taken away here,
    since it would hide that of `nn.Module`, which calls `forward`.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__ == __name__ and "__call__" in vars(cls):
            del cls.__call__
            cls.is_called = True

    #: whether what fills the slot is called
    is_called: ClassVar[bool] = False
    #: parameters that act after training alone, with the values that `imbdet evaluate --tune-on` tries
    tunable: ClassVar[dict[str, tuple[float, ...]]] = {}

    def describe(self) -> str:
        """Return what it does with its settings, for the log before the first step; "" says nothing."""
        return ""


class Balance(Slot):
    """Records -> records, once, before training (over- and under-sampling of images)."""

    def __call__(self, records: Any) -> Any:
        raise NotImplementedError

    def report(self, before: Any, after: Any) -> str:
        """Return what was done to the records, for the log; "" says nothing."""
        return ""


class ImageSampler(Slot):
    """Which image comes next. `indices(start)` is endless and a pure function of the seed and the position."""

    def indices(self, start: int = 0) -> Iterator[int]:
        raise NotImplementedError


class Mix(Slot):
    """Puts other images of the data set into one (mosaic, mixup, copy-paste), before `augment`.

    image uint8 (3, H, W), target {"boxes": (m, 4), "labels": (m,)}, `draw`, numpy Generator -> image, target. What it
    does is a pure function of its arguments: `draw(rng)` gives the image and target of an index that it takes from
    `rng`, `draw(rng, index)` those of an index of the records, both as they are in the files. No argument, and nothing
    drawn, is changed in place. `draw.position` counts the images of the training, from 0, so that a mix can end before
    the training does.
    """

    def __call__(self, image: Tensor, target: dict, draw: Any, rng: Any) -> tuple[Tensor, dict]:
        raise NotImplementedError

    def build(self, records: Any) -> None:
        """Take, once, the records that `draw` takes its images from."""


class Augment(Slot):
    """image uint8 (3, H, W), target {"boxes": (m, 4), "labels": (m,)}, numpy Generator -> image, target."""

    def __call__(self, image: Tensor, target: dict, rng: Any) -> tuple[Tensor, dict]:
        raise NotImplementedError


class Neck(Slot):
    """{level name: (N, C, H, W)} -> {level name: (N, C', H', W')}, finest first."""

    def __call__(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        raise NotImplementedError


class Proposals(Slot):
    """Features -> regions: boxes (N, P, 4), valid (N, P), losses, stats."""

    def __call__(
        self, features: dict[str, Tensor], sizes: Tensor, objects: Objects | None = None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor], Stats]:
        raise NotImplementedError


class Matcher(Slot):
    """IoU (N, M, A) of the objects with the regions, valid (N, M) -> object index (N, A), IoU (N, A), kind (N, A).

    kind is 1 for foreground, 0 for background, -1 for ignored.

    geometry: True for a matcher that looks at places: it is then called with the keywords `regions` (N, A, 4), `levels`
    (N, A), of the pyramid, and `objects` (N, M, 4) besides. Large batches are matched in parts, so N may differ.
    """

    geometry: ClassVar[bool] = False

    def __call__(self, *inputs: Any, **places: Any) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError

    def build(self, strides: tuple[int, ...]) -> None:
        """Take, once, the stride of each level of the pyramid, finest first; `levels` are indices into it."""

    def rematch(
        self, matched: Matched, objects: Objects, logits: Tensor, outputs: Tensor, criterion: Criterion
    ) -> Matched:
        """Match again with the predictions; dense heads (RetinaNet, RPN) only, without gradient.

        Args:
            matched: what the first pass made of the R = N*A regions, in which `images` and `levels` are known.
            logits, outputs: (R, C), (R, 4 + V) of the head in float32.
            criterion: gives scores (`scores`), boxes (`boxes`), losses of each region (`values`), and, from an object
                index, IoU and kind of each region, the result (`assign`).
        """
        return matched


class RegionSampler(Slot):
    """Which regions take part: Matched -> mask (R,) bool, before the head is computed.

    `per_image` is the most it keeps of one image (None: all), so that the kept regions have a shape known without
    waiting.
    """

    per_image: int | None

    def __call__(self, matched: Matched) -> tuple[Tensor, Stats]:
        raise NotImplementedError


class Head(Slot):
    """What a stage makes of pooled features, for fillers of `region_features` that ask."""

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, C, S, S) -> logits (R, C), outputs (R, K or 1, 4 + V)."""
        raise NotImplementedError

    def fixed(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same with the head's weights as constants, so that a gradient reaches the features only."""
        raise NotImplementedError

    def scores(self, logits: Tensor) -> Tensor:
        """Map logits (R, C) -> (R, K) in 0..1, as the classification slot has them, in float32."""
        raise NotImplementedError


class RegionFeatures(Slot):
    """(R, C, S, S) pooled features of the regions -> the same shape; training only."""

    def __call__(self, features: Tensor, matched: Matched, head: Head) -> tuple[Tensor, Stats]:
        raise NotImplementedError

    def build(self, channels: int, size: int) -> None:
        """Make the layers that fit: C and S of what will come."""

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], Stats]:
        """Add losses of one's own (or take some away) once the head's are known."""
        return losses, {}


class Classifier(Slot):
    """The last layer of an RoI head: (R, channels) -> logits (R, C). A module, made as `classifier(channels, logits)`,
    so that the config has it with `_partial_=True`.
    """

    def __call__(self, features: Tensor) -> Tensor:
        raise NotImplementedError

    def start(self, bias: float | Tensor) -> None:
        """Set the first values: those of the weights, and the bias that the classification asks for, one number or
        (C,).
        """
        raise NotImplementedError


class Phased(Slot):
    """A filler beside its slot that learns in turns with the detector (`imbdet/modeling/rest.py`)."""

    @property
    def rests(self) -> bool:
        """Whether the detector rests in the training step that comes next; such steps are no iterations."""
        raise NotImplementedError

    def begin_step(self) -> bool:
        """Note that a training step begins (not for validation losses). False freezes the detector for this
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

    normalizer: Callable[[Matched], Tensor] | None

    def num_logits(self, num_classes: int) -> int:
        """Return C for K classes."""
        raise NotImplementedError

    def initial_bias(self, num_classes: int) -> float | Tensor:
        """Return first bias of the logits: one number, or (C,) one for each."""
        raise NotImplementedError

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, Stats]:
        """logits (R, C) -> (R,) values; those of ignored regions are masked out afterwards by the criterion."""
        raise NotImplementedError

    def scores(self, logits: Tensor) -> Tensor:
        """Map logits (..., C) -> (..., K) in 0..1."""
        raise NotImplementedError

    def background(self, logits: Tensor) -> Tensor | None:
        """Map logits (..., C) -> score of background (...) where the scores of a region and this one add up to 1
        (softmax); None where each class is scored by itself (sigmoid).
        """
        return None


class Regression(Slot):
    """outputs (R, 4 + V), boxes and targets in `matched` -> (R,) values; only foreground counts (the criterion masks
    the rest, and sets its outputs to 0). V is `extra_values`, what the head predicts for it beside the deltas; 0 for
    most. num_values is what takes the place of the four deltas in a `BoxForm`.
    """

    num_values: int = 4
    extra_values: int = 0

    def __call__(self, deltas: Tensor, matched: Matched, box_coder: Any) -> tuple[Tensor, Stats]:
        raise NotImplementedError

    def deltas(self, outputs: Tensor, regions: Tensor, box_coder: Any) -> Tensor:
        """Map outputs (..., 4 + V) of regions (..., 4) -> deltas (..., 4)."""
        return outputs[..., :4]

    def boxes(self, outputs: Tensor, regions: Tensor, box_coder: Any) -> Tensor:
        """Map outputs (..., 4 + V) of regions (..., 4) -> boxes (..., 4)."""
        return box_coder.decode(self.deltas(outputs, regions, box_coder), regions)

    def deviations(self, extra: Tensor, regions: Tensor) -> Tensor | None:
        """At test: the values beside the deltas (..., V) of regions (..., 4) -> how sure each side of the box is, in
        pixels (..., 4), for the detector's `voting`; None where nothing is predicted of it.
        """
        return None


class BoxForm(Regression):
    """A regression whose outputs are no deltas (distributions over distances, buckets): outputs (R, num_values + V),
    of which the first num_values are as many for each of x1, y1, x2, y2, in this order.

    It defines `boxes`; what asks for deltas gets those of these boxes.
    """

    def boxes(self, outputs: Tensor, regions: Tensor, box_coder: Any) -> Tensor:
        raise NotImplementedError

    def deltas(self, outputs: Tensor, regions: Tensor, box_coder: Any) -> Tensor:
        return box_coder.encode(regions, self.boxes(outputs, regions, box_coder))


class Coupling(Slot):
    """Losses of classification and box together, with gradient to both (CARL).

    logits (R, C), outputs (R, 4 + V), values (the unweighted values (R,) of both losses, with their gradients, 0 where
    they do not count), Matched -> {name: loss}, stats. The losses are added to those of the criterion as they are, so
    the coupling divides by what it wants.
    """

    def __call__(
        self, logits: Tensor, outputs: Tensor, values: tuple[Tensor, Tensor], matched: Matched
    ) -> tuple[dict[str, Tensor], Stats]:
        raise NotImplementedError


class Weighting(Slot):
    """Values per region of both losses (R,), Matched -> their weights (R,), (R,), without gradient. OHEM gives 0 or
    1.
    """

    def __call__(
        self, classification: Tensor, regression: Tensor, matched: Matched
    ) -> tuple[tuple[Tensor, Tensor], Stats]:
        raise NotImplementedError


class Normalizer(Slot):
    """What a summed loss is divided by: Matched -> scalar tensor."""

    def __call__(self, matched: Matched) -> Tensor:
        raise NotImplementedError


class Objective(Slot):
    """{name: loss} -> {name: weighted loss}; the total is their plain sum. May have parameters of its own."""

    def __call__(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], Stats]:
        raise NotImplementedError

    def build(self, points: dict[str, Any]) -> None:
        """Take, before each step, the detector's `balance_points`: where the two losses part."""


class Calibration(Slot):
    """scores (..., K), background (...) or None -> scores (..., K), at test only, before any threshold.

    `background` is what `Classification.background` says: the score of background where it and the scores of a region
    add up to 1, None where each class is scored by itself. A cascade calibrates every stage's scores and then takes the
    mean; where a score is multiplied by a predicted IoU, that comes afterwards.
    """

    def __call__(self, scores: Tensor, background: Tensor | None) -> Tensor:
        raise NotImplementedError

    def logits(self, logits: Tensor) -> Tensor:
        """Map logits (..., C) -> (..., C), before they become scores; the first K are those of the classes."""
        return logits


def with_gradient(value: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """Return `value` with a gradient that was worked out by hand, for losses that autograd cannot follow (ranks,
    sorting).

    Args:
        value: (R,) what each region costs. logits: (R, C). gradient: (R, C) of the region's value, a constant.

    Returns:
        (R,) equal to `value`, whose derivative by `logits` is `gradient`.
    """
    surrogate = (logits * gradient.detach()).sum(dim=1)
    return value.detach() + (surrogate - surrogate.detach())
