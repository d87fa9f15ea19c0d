"""What sections 2, 5 and 6 ask of a config: its resize, anchors, matcher, sampler and box coder, without a training.

Notable: the parts are built by the config itself, so that the numbers are those of the detector that will be trained,
remedies included. An image is matched by the criterion's own `match` and `sample`, one at a time and without any
picture; a sample of the images will do for shares, and the report says how many.

Letters: N images, A anchors of one image, R = N*A regions, L levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..config import instantiate
from ..data.class_names import TrainedOn
from ..data.records import Records
from ..engine.origin import without_data
from ..modeling.preprocess import pad_objects
from ..structures import Matched
from .size import scales
from .structures import Missing

MOST_IMAGES = 200  #: that are matched, evenly through the split


@dataclass
class Anchored:
    """The part of a detector that has anchors and learns from them: RetinaNet itself, or the RPN.

    resize: the config's `dataloader.val.resize`, or None. strides: {level: pixels}. divisor: pictures are padded to it.
    beside: names of further criteria whose regions are proposals, known after a training only.
    """

    anchors: Any
    criterion: Any
    strides: dict[str, int]
    resize: Callable | None
    divisor: int
    any_class: bool
    beside: list[str] = field(default_factory=list)

    def grid(self, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Anchors (A, 4) and levels (A,) of a network input of this size, padded as the detector pads it."""
        return self.anchors([torch.empty(1, 0, h, w) for h, w in self.shapes(height, width)])

    def shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(rows, columns) of each level's map."""
        padded = [-(-side // self.divisor) * self.divisor for side in (height, width)]
        return [(-(-padded[0] // stride), -(-padded[1] // stride)) for stride in self.strides.values()]


def anchored(cfg: Any, records: Records) -> Anchored:
    """The anchored part of the config's detector, built for the classes of `records`; the config's data is not read.

    Raises:
        Missing: the detector has none (its proposals are made otherwise), or its parts cannot be built.
    """
    model = instantiate(without_data(cfg, TrainedOn.of(records)).model)
    parts = [m for m in model.modules() if hasattr(m, "anchors") and hasattr(m, "criterion")]
    if not parts:
        raise Missing("This config's detector has no anchors: its regions are known after a training only (--run)")
    part = parts[0]
    beside = [
        name for name, module in model.named_modules() if name.endswith("criterion") and module is not part.criterion
    ]
    val = (cfg.get("dataloader") or {}).get("val") or {}
    resize = instantiate(val["resize"]) if val.get("resize") is not None else None
    return Anchored(
        part.anchors,
        part.criterion.eval(),
        dict(model.neck.strides),
        resize,
        model.preprocess.divisor,
        part.criterion.num_classes == 1 and model.num_classes != 1,
        beside,
    )


@dataclass
class Sample:
    """Matched images, flattened: what sections 2, 5 and 6 read.

    images: indices of the records. regions, foreground, kept_foreground, kept_background, ignored: int64 (N, L), before
    and after the sampler. positives: their columns, P rows: iou, level, deltas (P, 4) encoded targets, object (index in
    the records), loss (P,) and gradient (P, 4) of `own_loss`. objects: indices of all objects looked at, of which
    unmatched have no positive region.
    """

    images: np.ndarray
    counts: dict[str, np.ndarray]
    positives: dict[str, np.ndarray]
    objects: np.ndarray
    unmatched: np.ndarray


def match_sample(records: Records, part: Anchored, most: int = MOST_IMAGES, progress: Callable | None = None) -> Sample:
    """Match at most `most` images that hold objects, evenly through the split.

    Raises:
        Missing: no image holds an object.
    """
    holding = np.unique(records.object_image[~records.crowd])
    if not len(holding):
        raise Missing("No image has a box, so no anchor is positive")
    chosen = holding[np.unique(np.linspace(0, len(holding) - 1, min(most, len(holding))).round().astype(int))]
    factors = scales(records.subset(chosen), part.resize)
    levels = len(part.strides)
    counts = {n: [] for n in ("regions", "foreground", "background", "ignored", "kept_foreground", "kept_background")}
    columns: dict[str, list] = {"iou": [], "level": [], "deltas": [], "object": [], "loss": [], "gradient": []}
    seen, unmatched = [], []
    for image, factor, matched, kept, objects in _matched(records, chosen, factors, part):
        del image, factor
        level = matched.levels.numpy()
        masks = (matched.labels > -9, matched.foreground, matched.background, matched.labels < 0)
        for name, mask in zip(counts, (*masks, kept.foreground, kept.background), strict=True):
            counts[name].append(np.bincount(level[mask.numpy()], minlength=levels))
        positive = matched.take(matched.foreground.nonzero().flatten())
        columns["iou"].append(positive.iou.numpy())
        columns["level"].append(positive.levels.numpy())
        columns["deltas"].append(part.criterion.box_coder.encode(positive.boxes, positive.targets).numpy())
        columns["object"].append(objects[positive.objects.numpy()])
        loss, gradient = own_loss(positive, part)
        columns["loss"].append(loss)
        columns["gradient"].append(gradient)
        seen.append(objects)
        unmatched.append(np.setdiff1d(objects, columns["object"][-1]))
        if progress:
            progress(1)
    return Sample(
        images=chosen,
        counts={name: np.array(rows) for name, rows in counts.items()},
        positives={name: np.concatenate(rows) for name, rows in columns.items()},
        objects=np.concatenate(seen),
        unmatched=np.concatenate(unmatched),
    )


def own_loss(positive: Matched, part: Anchored) -> tuple[np.ndarray, np.ndarray]:
    """The config's regression loss (P,) of a head that still says 0, and the size of its gradient (P, 4): by delta, or
    by side where a box form has several values a side.
    """
    regression = part.criterion.regression
    outputs = torch.zeros(len(positive), regression.num_values + regression.extra_values, requires_grad=True)
    if not len(positive):
        return np.zeros(0), np.zeros((0, 4))
    with torch.enable_grad():
        values, _ = regression(outputs, positive, part.criterion.box_coder)
        (gradient,) = torch.autograd.grad(values.sum(), outputs)
    by_side = gradient[:, : regression.num_values].unflatten(1, (4, -1)).abs().sum(dim=2)
    return values.detach().numpy(), by_side.numpy()


def _matched(
    records: Records, chosen: np.ndarray, factors: np.ndarray, part: Anchored
) -> Iterator[tuple[int, np.ndarray, Matched, Matched, np.ndarray]]:
    """Each image: its index, factors, all regions matched, the same after the sampler, and its objects' indices."""
    for image, factor in zip(chosen.tolist(), factors, strict=True):
        begin, end = records.offsets[image], records.offsets[image + 1]
        target = records.target(image)
        objects = np.arange(begin, end)[_trained_on(records, begin, end, image)]
        boxes = target["boxes"] * torch.tensor(np.tile(factor, 2), dtype=torch.float32)
        labels = torch.zeros_like(target["labels"]) if part.any_class else target["labels"]
        padded = pad_objects([{"boxes": boxes, "labels": labels}], torch.device("cpu"), max(records.num_classes, 1))
        size = round(records.heights[image] * factor[1]), round(records.widths[image] * factor[0])
        anchors, levels = part.grid(*size)
        with torch.no_grad():
            matched = part.criterion.match(anchors, levels, padded)
            kept, _ = part.criterion.sample(matched)
        yield image, factor, matched, kept, objects


def _trained_on(records: Records, begin: int, end: int, image: int) -> np.ndarray:
    """bool: the rows that `Records.target` keeps, by its own rule."""
    low = records.xywh[begin:end, :2].clip(0, [records.widths[image], records.heights[image]]).astype(np.float32)
    high = records.xywh[begin:end, :2] + records.xywh[begin:end, 2:]
    high = high.clip(0, [records.widths[image], records.heights[image]]).astype(np.float32)
    return (high > low).all(axis=1) & ~records.crowd[begin:end]


def best_anchor_iou(records: Records, keep: np.ndarray, part: Anchored) -> tuple[np.ndarray, np.ndarray]:
    """The highest IoU of any anchor with each kept object, and the level of that anchor: (kept,), (kept,).

    No image is matched for it: of the equal anchors of one level the one whose center is nearest to the object's
    overlaps it most, so that each object meets one anchor of each shape and level.
    """
    factors = scales(records, part.resize)[records.object_image[keep]]
    images = records.object_image[keep]
    xy = records.xywh[keep, :2].clip(0, None)
    limit = np.stack([records.widths, records.heights], axis=1)[images]
    high = np.minimum(records.xywh[keep, :2] + records.xywh[keep, 2:], limit)
    low, high = np.minimum(xy, limit) * factors, high * factors
    size = np.stack([records.widths[images], records.heights[images]], axis=1) * factors
    padded = np.ceil(size.round() / part.divisor) * part.divisor
    center, wh = (low + high) / 2, (high - low).clip(0)
    best, level_of = np.zeros(len(wh)), np.zeros(len(wh), dtype=np.int64)
    for level, (stride, cells) in enumerate(zip(part.strides.values(), part.anchors.cells, strict=True)):
        last = np.ceil(padded / stride) - 1
        nearest = (np.rint(center / stride - part.anchors.offset).clip(0, last) + part.anchors.offset) * stride
        for cell in cells.double().numpy():
            overlap = np.minimum(high, nearest + cell[2:]) - np.maximum(low, nearest + cell[:2])
            shared = overlap.clip(0).prod(axis=1)
            iou = shared / (wh.prod(axis=1) + np.prod(cell[2:] - cell[:2]) - shared)
            better = iou > best
            best, level_of = np.where(better, iou, best), np.where(better, level, level_of)
    return best, level_of
