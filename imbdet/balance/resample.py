"""Fewer or more of the pictures: random over- and under-sampling, repeat factors, a target, a given imbalance.

Each function changes `Working.parts[part]` and adds notes; those that aim at a target say first what is reachable.

Letters: N images, K classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..data.records import Records
from ..data.statistics import takes_part
from ..diagnose.classes import imbalance
from ..diagnose.size import usable
from ..remedies.class_fg_fg._class_counts import ImageClasses
from ..remedies.class_fg_fg.random_over_sampling import RandomOverSampling
from ..remedies.class_fg_fg.random_under_sampling import RandomUnderSampling
from ..remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling
from .options import Options
from .pool import Working, known
from .target import Limits, choose, least_spread, read_shares, rounded, spread

COPIES = 4  #: most that a picture comes on the way to a target
DRAWN = 10  #: the same of random over-sampling and repeat factors, as in the remedies


@dataclass(frozen=True)
class Reachable:
    """What can be reached at best: no choice of pictures has a smaller ratio.

    now: as it is. without: without repeats. repeats: with at most `copies` of a picture. all_kept: the same, with every
    picture at least once. fewest: pictures that must be left, of `images`.
    """

    now: float
    without: float
    repeats: float
    all_kept: float
    copies: int
    fewest: int
    images: int
    what: str = "ratio of the most to the least frequent class"

    def says(self) -> str:
        """Return it in words."""
        text = f"the {self.what} is {self.now:.3g} and, with at least {self.fewest} of the {self.images} pictures"
        text += f" left, cannot fall below {self.without:.3g} without repeats"
        if self.copies > 1:
            text += f", {self.repeats:.3g} if a picture comes up to {self.copies} times"
            text += f", {self.all_kept:.3g} if every picture is kept besides"
        return text


def resample(
    work: Working, options: Options, part: str, rng: np.random.Generator, progress: Callable[[], None] = lambda: None
) -> Reachable | None:
    """Apply the one of over_sample, under_sample, repeat_factor, target, make_imbalanced, size_skew that is given.

    progress: called SCALES times on the way to a target.

    Raises:
        ValueError: nothing to balance, or a ratio that cannot be reached.
    """
    records = work.records(part)
    if options.over_sample is not None:
        _drawn(work, part, RandomOverSampling(options.over_sample, options.seed, options.copies or DRAWN), records)
    elif options.under_sample is not None:
        _drawn(work, part, RandomUnderSampling(options.under_sample, options.seed), records)
    elif options.repeat_factor is not None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            threshold = options.repeat_factor or None
            sampler = RepeatFactorSampling(records, options.seed, threshold, options.copies or DRAWN)
        work.notes += [str(warning.message) for warning in told]
        _take(work, part, rounded(sampler.repeats, rng))
    elif options.target is not None:
        return to_target(work, options, part, records, rng, progress)
    elif options.make_imbalanced is not None:
        shares = long_tail(work, options, records)
        return _fewer(work, options, part, records, shares, rng)
    elif options.size_skew is not None:
        halves = size_halves(records)
        shares = np.array([1, options.size_skew]) / (1 + options.size_skew)
        return _fewer(work, options, part, halves, shares, rng)
    return None


def reachable(records: Records, shares: np.ndarray, copies: int, keep_images: float) -> Reachable:
    """Return the bounds; see `target.least_spread`. shares: (K,)."""
    held = ImageClasses.of(records)
    n, fewest = len(records), math.ceil(keep_images * len(records))

    def bound(low: int, high: int) -> float:
        return least_spread(held, shares, Limits(low, high, fewest))[0]

    present = shares > 0
    what = Reachable.what if np.ptp(shares[present]) < 1e-9 else "spread around the target shares (1 is on target)"
    without = bound(0, 1)
    repeats, all_kept = (bound(0, copies), bound(1, copies)) if copies > 1 else (without, without)
    now = spread(records.class_counts()[present].astype(float), shares[present])
    return Reachable(now, without, repeats, all_kept, copies, fewest, n, what)


def to_target(
    work: Working,
    options: Options,
    part: str,
    records: Records,
    rng: np.random.Generator,
    progress: Callable[[], None] = lambda: None,
) -> Reachable:
    """Choose and repeat pictures so that the boxes come near a target distribution."""
    boxes = records.class_counts().astype(float)
    shares = read_shares(options.target, list(records.class_names), boxes)
    present = takes_part(boxes)
    if present.sum() < 2:
        raise ValueError(f"{part} has boxes of one class only, so there is nothing to balance")
    equal = np.where(present, 1 / present.sum(), 0.0)
    wanted = None
    if isinstance(options.target, str) and options.target.startswith("ratio:"):
        wanted = float(options.target.partition(":")[2])
    copies = options.copies or COPIES
    limits = Limits(int(options.keep_all), copies, math.ceil(options.keep_images * len(records)))
    held = ImageClasses.of(records)
    best = reachable(records, shares if wanted is None else equal, copies, options.keep_images)
    work.notes.append(f"reachable: {best.says()}")
    least = best.all_kept if options.keep_all else best.repeats
    if wanted is not None and least > wanted * (1 + 1e-6):
        fix = "more copies of a picture" if copies > 1 or options.keep_all else "repeats"
        raise ValueError(
            f"target {options.target!r} cannot be reached: {best.says()}. Ask for {_up(least)} or more, or allow {fix}"
            " or fewer pictures (keep_images)"
        )
    chosen = choose(held, shares, limits, rng, progress)
    _take(work, part, chosen.counts)
    ratio = imbalance(work.records(part).class_counts())["ratio"]
    text = f"{part}: reached a ratio of {ratio:.3g}" if ratio is not None else f"{part}: no box is left"
    if wanted is None and best.what != Reachable.what:
        text += f" and a spread of {chosen.spread:.3g} around the target"
    missed = wanted is not None and ratio is not None and ratio > wanted * 1.05
    work.notes.append(text + (f", not the {wanted:g} that was asked for" if missed else ""))
    return best


def long_tail(work: Working, options: Options, records: Records) -> np.ndarray:
    """Return shares (K,) whose ratio is `make_imbalanced`, falling geometrically with the rank of the class.

    Source: the exponential profile of Cui et al. 2019, arXiv 1901.05555 (long-tailed CIFAR). Classes rank by
    `order`, then by their boxes.
    """
    boxes = records.class_counts()
    first = [list(records.class_names).index(known(name, records.class_names, "class")) for name in options.order]
    rest = [k for k in np.argsort(-boxes, kind="stable").tolist() if k not in first]
    ranked = [k for k in (*first, *rest) if boxes[k] > 0]
    if len(ranked) < 2:
        raise ValueError("make_imbalanced needs two classes with boxes or more")
    shares = np.zeros(len(boxes))
    shares[ranked] = options.make_imbalanced ** -(np.arange(len(ranked)) / (len(ranked) - 1))
    return shares / shares.sum()


def size_halves(records: Records) -> Records:
    """Return the same with two classes: boxes with a side up to the median, and larger ones."""
    good = usable(records)
    if not good.any():
        raise ValueError("size_skew: there is no box with a width and a height")
    side = np.sqrt(np.maximum(records.xywh[:, 2] * records.xywh[:, 3], 0))
    larger = (side > np.median(side[good])).astype(np.int32)
    if len(np.unique(larger[good])) < 2:
        raise ValueError("size_skew: all boxes have the same size")
    names = ("smaller half", "larger half")
    return replace(
        records, class_names=names, category_ids=np.arange(1, 3), category_keys=None, labels=larger, crowd=~good
    )


def _fewer(
    work: Working, options: Options, part: str, records: Records, shares: np.ndarray, rng: np.random.Generator
) -> Reachable:
    """Leave pictures out until the boxes have these shares; no picture is repeated.

    A tenth of the pictures may be all that is left (keep_images, if it is given, says more).
    """
    keep = options.keep_images if options.keep_images != Options.keep_images else 0.1
    best = reachable(records, shares, 1, keep)
    chosen = choose(ImageClasses.of(records), shares, Limits(0, 1, best.fewest), rng)
    _take(work, part, chosen.counts)
    after = records.subset(np.flatnonzero(chosen.counts)).class_counts()
    measured = ", ".join(f"{name} {count}" for name, count in zip(records.class_names, after, strict=True))
    wanted = float(shares.max() / shares[shares > 0].min())
    there = after[shares > 0]
    reached = f"{there.max() / there.min():.3g}" if there.min() else "infinity"
    work.notes.append(f"{part}: asked for a ratio of {wanted:.3g}, reached {reached} ({measured})")
    return best


def add_label_noise(work: Working, share: float, part: str, rng: np.random.Generator) -> None:
    """Give another class, each equally likely, to a share of the part's boxes; `work.noisy` tells which."""
    if len(work.names) < 2:
        raise ValueError("label_noise needs two classes or more")
    inside = np.isin(work.pool.records.object_image, work.parts[part])
    boxes = np.flatnonzero(work.keep & ~work.crowd & inside)
    hit = rng.choice(boxes, round(share * len(boxes)), replace=False)
    step = rng.integers(1, len(work.names), len(hit))
    work.labels[hit] = (work.labels[hit] + step) % len(work.names)
    work.noisy[hit] = True
    work.notes.append(f"{part}: {len(hit)} of {len(boxes)} boxes got another class")


def _drawn(work: Working, part: str, remedy: object, records: Records) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        after = remedy(records)
    work.notes += [f"{part}: {warning.message}" for warning in told]
    work.parts[part] = after.image_ids.copy()


def _take(work: Working, part: str, counts: np.ndarray) -> None:
    work.parts[part] = np.repeat(work.parts[part], counts)


def _up(value: float) -> str:
    """Rounded up to three digits."""
    digits = 2 - math.floor(math.log10(value))
    return f"{math.ceil(value * 10**digits) / 10**digits:g}"
