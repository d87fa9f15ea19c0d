"""Classes renamed, merged and left out; boxes and pictures left out by what they are.

Notable: a box that is left out is still visible in its picture, where a detector then learns it as background;
`removed="crowd"` or "picture" avoids that.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from ..diagnose.duplicates import read_gray
from ..diagnose.size import distance
from .options import Options, Range
from .pool import Working, known

FEWEST = 8  #: boxes of a class, below which it has no quartiles to speak of (as in `diagnose`)


def change_classes(work: Working, options: Options) -> None:
    """Rename, merge, keep and drop classes, in this order; with all splits.

    Raises:
        ValueError: an unknown class, two classes of one name, or no class left.
    """
    for old, new in (options.rename or {}).items():
        label = work.label(old)
        if new in work.names and new != old:
            raise ValueError(
                f"rename {old}={new}: there is a class {new!r} already; merge {old},{new}={new} joins them"
            )
        work.names[label] = new
    for new, old in (options.merge or {}).items():
        labels = sorted({work.label(name) for name in old})
        if new in work.names and work.names.index(new) not in labels:
            raise ValueError(f"merge {','.join(old)}={new}: there is a class {new!r} already; name it among the merged")
        work.labels[np.isin(work.labels, labels)] = labels[0]
        work.names[labels[0]] = new
        _select(work, [k for k in range(len(work.names)) if k not in labels[1:]])
    chosen = {work.label(name) for name in options.keep_class or work.names}
    dropped = {work.label(name) for name in options.drop_class}
    _select(work, sorted(chosen - dropped))


def _select(work: Working, labels: list[int]) -> None:
    """Keep these classes; boxes of the others are left out."""
    if not labels:
        raise ValueError("no class would be left")
    numbers = np.full(len(work.names), -1)
    numbers[labels] = np.arange(len(labels))
    new = numbers[work.labels]
    work.keep &= new >= 0
    work.labels = np.maximum(new, 0).astype(np.int32)
    work.names = [work.names[k] for k in labels]
    work.category_ids = [work.category_ids[k] for k in labels]


def filter_boxes(work: Working, options: Options) -> None:
    """Filter boxes by size, aspect, outliers and closeness to the border."""
    records, on = work.pool.records, work.objects_on()
    x, y, w, h = records.xywh.T
    width, height = records.widths[records.object_image], records.heights[records.object_image]
    flat = ~((w > 0) & (h > 0))
    safe_w, safe_h = np.where(flat, 1, w), np.where(flat, 1, h)
    bad = np.zeros(len(x), dtype=bool)
    told = []

    def leave_out(what: str, mask: np.ndarray) -> None:
        nonlocal bad
        told.append(f"{int((mask & on & ~bad).sum())} by {what}")
        bad |= mask & on

    if options.size is not None:
        leave_out("size", _outside(np.where(flat, 0, np.sqrt(safe_w * safe_h)), options.size))
    if options.aspect is not None:
        leave_out("aspect", flat | _outside(safe_w / safe_h, options.aspect))
    if options.border is not None:
        near = (x < options.border) | (y < options.border)
        leave_out("border", near | (x + w > width - options.border) | (y + h > height - options.border))
    if options.outliers is not None:
        pixels = np.maximum(width.astype(float) * height, 1)
        far = np.zeros(len(x), dtype=bool)
        for values in (np.log(safe_w * safe_h / pixels), np.log(safe_w / safe_h)):
            for label in range(len(work.names)):
                mine = np.flatnonzero(on & ~flat & (work.labels == label))
                if len(mine) >= FEWEST:
                    far[mine[distance(values[mine]) > options.outliers]] = True
        leave_out("outliers", far)
    if not told:
        return
    if options.removed == "drop":
        work.keep &= ~bad
    elif options.removed == "crowd":
        work.crowd |= bad
    else:
        work.drop_images(np.unique(records.object_image[bad]))
    became = {"drop": "left out", "crowd": "made crowd", "picture": "left out with their pictures"}[options.removed]
    work.notes.append(f"boxes {became}: {', '.join(told)}")


def filter_pictures(
    work: Working, options: Options, groups: np.ndarray | None, progress: Callable[[], None] = lambda: None
) -> None:
    """Filter pictures by sharpness, exposure, group, and whether there is a box.

    groups: (N,) names, of `groups_of`; None without.
    """
    if options.sharpness is not None or options.exposure is not None:
        _by_light(work, options, progress)
    if groups is not None and (options.keep_group or options.drop_group):
        there = sorted({str(name) for name in groups})
        keep = [known(str(name), there, "group") for name in options.keep_group] or there
        drop = [known(str(name), there, "group") for name in options.drop_group]
        out = ~np.isin(groups.astype(str), keep) | np.isin(groups.astype(str), drop)
        work.notes.append(f"pictures left out: {work.drop_images(np.flatnonzero(out))} by group")
    if not options.empty:
        records = work.pool.records
        filled = np.bincount(records.object_image[work.keep & ~work.crowd], minlength=len(records)) > 0
        work.notes.append(f"pictures left out: {work.drop_images(np.flatnonzero(~filled))} without boxes")


def _by_light(work: Working, options: Options, progress: Callable[[], None]) -> None:
    records = work.pool.records
    blurred, badly_lit = [], []
    for index in work.images_on().tolist():
        progress()
        if options.exposure is not None and _outside(read_gray(records, index).mean(), options.exposure):
            badly_lit.append(index)
        if options.sharpness is not None and _outside(sharpness(records.images[index].numpy()), options.sharpness):
            blurred.append(index)
    for what, indices in (("sharpness", blurred), ("exposure", badly_lit)):
        if getattr(options, what) is not None:
            work.notes.append(f"pictures left out: {work.drop_images(np.array(indices, np.int64))} by {what}")


def sharpness(rgb: np.ndarray) -> float:
    """Return the variance of the Laplacian (4 neighbors) of the gray levels 0..255 of a picture uint8 (3, H, W).

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"; gray by ITU-R BT.601.
    """
    gray = np.tensordot([0.299, 0.587, 0.114], rgb.astype(np.float64), 1)
    if min(gray.shape) < 3:
        return 0.0
    inner = gray[1:-1, 1:-1]
    return float((gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner).var())


def groups_of(work: Working, spec: str, fields: Callable[[int], dict]) -> np.ndarray:
    """Return object (N,): the group of each image of the pool; one that has none is its own, called by its file name.

    Args:
        spec: see `Options.group`. fields: image index -> what its file says of it, besides the usual.

    Raises:
        ValueError: no image has a group.
    """
    images = work.pool.records.images
    names = [images.name(i) for i in range(len(images))]
    if spec.startswith("field:"):
        field = spec.removeprefix("field:")
        found = [fields(i).get(field) for i in range(len(names))]
    else:
        matches = [re.search(spec, name) for name in names]
        found = [match and (match.group(1) if match.re.groups else match.group(0)) for match in matches]
    if all(value is None for value in found):
        what = f"no image of the input has a field {field!r}" if spec.startswith("field:") else "no file name matches"
        raise ValueError(f"group {spec!r}: {what}; a file name is {names[0]!r}" if names else f"group {spec!r}: {what}")
    return np.array([name if value is None else str(value) for value, name in zip(found, names, strict=True)], object)


def cap_classes(work: Working, cap: dict[str, int], rng: np.random.Generator) -> None:
    """Take pictures in random order, those with rare classes first, and leave out each that would exceed a cap.

    Boxes are never cut out of a picture that stays. Raises ValueError for an unknown class.
    """
    limits = np.full(len(work.names), cap.get("*", np.iinfo(np.int64).max))
    for name, most in cap.items():
        if name != "*":
            limits[work.label(name)] = most
    for part in work.on:
        records = work.records(part)
        counts = np.zeros((len(records), records.num_classes), dtype=np.int64)
        kept = ~records.crowd
        np.add.at(counts, (records.object_image[kept], records.labels[kept]), 1)
        rank = np.argsort(np.argsort(counts.sum(axis=0), kind="stable"), kind="stable")
        rarest = np.where(counts > 0, rank, records.num_classes).min(axis=1, initial=records.num_classes)
        order = np.lexsort((rng.random(len(records)), rarest))
        total, taken = np.zeros_like(limits), []
        for i in order.tolist():
            if (total + counts[i] <= limits)[counts[i] > 0].all():
                total += counts[i]
                taken.append(i)
        work.notes.append(f"{part}: {len(records) - len(taken)} pictures left out by the cap")
        work.parts[part] = work.parts[part][np.sort(np.array(taken, np.int64))]


def _outside(values: np.ndarray | float, limits: Range) -> np.ndarray:
    low, high = limits
    outside = np.zeros(np.shape(values), dtype=bool)
    if low is not None:
        outside = outside | (np.asarray(values) < low)
    if high is not None:
        outside = outside | (np.asarray(values) > high)
    return outside
