"""What configs and reports need to know about a data set: its classes, their counts, and how unequal they are.

Notable: counts never include crowd regions; "rare" goes by the number of training images that hold the class, as in
LVIS, not by the number of boxes; and a class without boxes is in no statistic at all (`takes_part`): neither a category
that only groups others (Roboflow's id 0) nor one that nobody has labeled yet is a rare class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imbdet.data.records import Records

LVIS_RARE, LVIS_COMMON = 10, 100  # a class of at most so many training images is rare, or common
GROUPS = ("rare", "common", "frequent")
# COCO's limits between small, medium and large, square pixels.
SMALL, MEDIUM = 32.0**2, 96.0**2


def num_classes(records: Records) -> int:
    """Return K, for `model.num_classes`."""
    return records.num_classes


def class_names(records: Records) -> list[str]:
    """Return the K names in the order of the labels."""
    return list(records.class_names)


def class_counts(records: Records) -> list[int]:
    """Return boxes of each of the K classes, crowd left out."""
    return records.class_counts().tolist()


def image_counts(records: Records) -> list[int]:
    """Return images that hold each of the K classes, crowd left out."""
    return records.image_counts().tolist()


def image_shares(records: Records) -> list[float]:
    """Return for each of the K classes the share of the images that hold it, 0..1."""
    return (records.image_counts() / max(len(records), 1)).tolist()


def class_groups(records: Records) -> list[int]:
    """Return for each of the K classes its place in GROUPS, 0 for rare to 2 for frequent; -1 for one without boxes."""
    groups = frequency_groups(records)
    names = [groups.of(label) for label in range(records.num_classes)]
    return [-1 if name is None else GROUPS.index(name) for name in names]


def takes_part(counts) -> np.ndarray:
    """Return bool (K,): whether a class takes part in statistics, that is, in groups, means, weights and samplers'
    targets.

    It does if it has a box or an image to be counted. One without keeps its name and its label, and nothing else.

    Args:
        counts: (K,) boxes, or images, of each class, crowd left out.
    """
    return np.asarray(counts) > 0


@dataclass(frozen=True)
class FrequencyGroups:
    """Which classes are rare, common and frequent.

    Attributes:
        labels: {"rare": labels, "common": labels, "frequent": labels}; together every class with boxes once.
        rule: how they were told apart, in words, to be printed beside every number per group.
    """

    labels: dict[str, tuple[int, ...]]
    rule: str

    def of(self, label: int) -> str | None:
        """Return the group of a class; None for one without boxes."""
        return next((group for group, labels in self.labels.items() if label in labels), None)


def frequency_groups(train_records: Records) -> FrequencyGroups:
    """Return rare, common and frequent classes of a training set, by the number of its images that hold them.

    LVIS's limits (at most 10 images, at most 100, more) where all three groups then have members; else terciles: the
    classes sorted by their count and cut in three parts that are as equal as can be, with ties in order of the label.
    A class without boxes is in no group.
    """
    counts = train_records.image_counts()
    present = np.flatnonzero(takes_part(counts))
    counts = counts[present]
    group = np.digitize(counts, [LVIS_RARE + 1, LVIS_COMMON + 1])
    limits = [f"at most {LVIS_RARE} training images", f"{LVIS_RARE + 1} to {LVIS_COMMON}", f"more than {LVIS_COMMON}"]
    rule = "LVIS's limits: " + ", ".join(f"{name} = {limit}" for name, limit in zip(GROUPS, limits, strict=True))
    if len(np.unique(group)) < 3:
        parts = np.array_split(np.argsort(counts, kind="stable"), 3)
        group = np.empty(len(counts), dtype=int)
        ranges = []
        for index, part in enumerate(parts):
            group[part] = index
            span = f"{counts[part].min()} to {counts[part].max()}" if len(part) else "no class"
            ranges.append(f"{GROUPS[index]} = {span}")
        rule = (
            "terciles of the classes by their number of training images (LVIS's limits leave a group empty): "
            + ", ".join(ranges)
        )
    labels = {name: tuple(present[group == index].tolist()) for index, name in enumerate(GROUPS)}
    if len(present) < train_records.num_classes:
        rule += f"; {train_records.num_classes - len(present)} without boxes in no group"
    return FrequencyGroups(labels, rule)


def imbalance_ratio(records: Records) -> float:
    """Return boxes of the most frequent class over those of the least frequent one that has any; NaN without boxes."""
    counts = records.class_counts()
    counts = counts[takes_part(counts)]
    return float(counts.max() / counts.min()) if len(counts) else float("nan")


def objects_per_image(records: Records) -> np.ndarray:
    """Return int64 (N,): objects in each image, crowd left out."""
    return np.bincount(records.object_image[~records.crowd], minlength=len(records)).astype(np.int64)


def input_sizes(records: Records, resize=None) -> np.ndarray:
    """Return float64: sqrt(width * height) of the boxes at the network's input, pixels; crowd and boxes without area
    left out.

    Args:
        resize: the ResizeShortestEdge on the way there (the mean of its lengths counts); None for pictures as they are.

    Raises:
        ValueError: no box has an area.
    """
    keep = ~records.crowd & (records.xywh[:, 2:] > 0).all(axis=1)
    if not keep.any():
        raise ValueError(f"{records.name}: no box has an area, so there is no size of objects to take from the data")
    sizes = np.sqrt(records.xywh[keep, 2:].astype(float).prod(axis=1))
    if resize is None:
        return sizes
    images = records.object_image[keep]
    short, long = np.sort(np.stack((records.widths[images], records.heights[images])).astype(float), axis=0)
    scale = np.minimum(np.mean(resize.lengths) / np.maximum(short, 1), resize.max_size / np.maximum(long, 1))
    return sizes * np.where(short > 0, scale, 1.0)


def mean_input_size(records: Records, resize=None) -> float:
    """Return the mean of `input_sizes`."""
    return float(input_sizes(records, resize).mean())


def input_size_range(records: Records, resize=None, share: float = 0.9) -> list[float]:
    """Return lower and upper limit of the `share` of the objects in the middle of `input_sizes`."""
    tail = 50 * (1 - share)
    return np.percentile(input_sizes(records, resize), [tail, 100 - tail]).tolist()


@dataclass(frozen=True)
class SizeSummary:
    """How large objects are.

    Attributes:
        small, medium, large: share of the objects below 32^2, below 96^2, and above, in pixels of area as COCO counts.
        percentiles: 5, 25, 50, 75 and 95 % of sqrt(width * height) in pixels.
        relative: the same percentiles of sqrt(box area / image area), 0..1.
        aspect: the same percentiles of width / height.
    """

    small: float
    medium: float
    large: float
    percentiles: tuple[float, ...]
    relative: tuple[float, ...]
    aspect: tuple[float, ...]


def size_summary(records: Records) -> SizeSummary | None:
    """Return sizes of all boxes that have one (crowd and boxes without width or height left out); None without any."""
    keep = ~records.crowd & (records.xywh[:, 2:] > 0).all(axis=1)
    if not keep.any():
        return None
    width, height = records.xywh[keep, 2], records.xywh[keep, 3]
    images = records.object_image[keep]
    image_area = records.widths[images].astype(float) * records.heights[images]
    small, medium = records.areas[keep] < SMALL, records.areas[keep] < MEDIUM

    def percentiles(values: np.ndarray) -> tuple[float, ...]:
        return tuple(np.percentile(values, [5, 25, 50, 75, 95]).tolist())

    return SizeSummary(
        small=float(small.mean()),
        medium=float((medium & ~small).mean()),
        large=float((~medium).mean()),
        percentiles=percentiles(np.sqrt(width * height)),
        relative=percentiles(np.sqrt(width * height / np.maximum(image_area, 1))),
        aspect=percentiles(width / height),
    )


def describe(records: Records, limit: int = 20) -> str:
    """Return a few lines for the log: size, images without objects, boxes per class, imbalance, object sizes.

    limit: with more classes than this, only the most and least frequent are listed.
    """
    counts, images = records.class_counts(), records.image_counts()
    per_image = objects_per_image(records)
    lines = [
        f"{records.name}: {len(records)} images ({records.num_empty} without objects), {counts.sum()} boxes "
        f"({records.crowd.sum()} crowd regions besides), {records.num_classes} classes, from {records.source}"
    ]
    order = np.argsort(-counts, kind="stable")
    if len(order) > limit:
        order = np.concatenate([order[: limit // 2], order[-(limit - limit // 2) :]])
    lines += [f"  {records.class_names[k]}: {counts[k]} boxes in {images[k]} images" for k in order]
    if counts.sum():
        sizes = size_summary(records)
        lines.append(
            f"  most to least frequent class {imbalance_ratio(records):.3g}; objects per image mean "
            f"{per_image.mean():.3g}, most {per_image.max()}"
        )
        if sizes:
            lines.append(
                f"  objects small {sizes.small:.0%}, medium {sizes.medium:.0%}, large {sizes.large:.0%}; side of the "
                f"median box {sizes.percentiles[2]:.4g} px"
            )
    return "\n".join(lines)
