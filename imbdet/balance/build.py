"""The order in which the options of one call act.

    classes -> box filters -> picture filters -> split or folds -> cap -> resampling -> label noise

Notable: what chooses pictures comes after the split and acts on the training part alone, so that no repeat of a picture
is in two parts, and validation and test stay as they were found.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
from tqdm import tqdm

from ..diagnose.duplicates import hash_pictures, near_duplicates
from ..diagnose.inputs import Splits
from .filters import cap_classes, change_classes, filter_boxes, filter_pictures, groups_of
from .options import Options
from .originals import Originals
from .pool import Pool, Working, known
from .resample import Reachable, add_label_noise, resample
from .split import split_images
from .target import SCALES


class Balanced:
    """What came out: `work` holds it; reachable: {part: bounds} where a target was asked for.

    places: paths that the input was given as; nothing is written there.
    """

    def __init__(self, work: Working, options: Options, reachable: dict[str, Reachable], originals: Originals):
        self.work, self.options, self.reachable, self.originals = work, options, reachable, originals
        self.places: list[str] = []


def balanced(splits: Splits, options: Options, progress: bool = False) -> Balanced:
    """Apply the options; nothing is written.

    Raises:
        ValueError: an option that does not fit the data, or nothing is left.
    """
    pool = Pool(splits)
    originals = Originals(pool)
    anew = bool(options.split or options.folds)
    work = Working(pool)
    for name in (*options.on, *options.pool) if not anew else options.pool:
        known(name, list(pool.splits), "split")
    rng = np.random.default_rng(options.seed)
    change_classes(work, options)
    work.on = list(options.on) if options.on and not anew else _pooled(work, options) if anew else work.on
    groups = groups_of(work, options.group, originals.image_fields) if options.group else None
    filter_boxes(work, options)
    with _bar(progress and (options.sharpness or options.exposure), len(work.images_on()), "light") as step:
        filter_pictures(work, options, groups, step)
    if anew:
        _split(work, options, groups, rng, progress)
        trains = [name for name in work.parts if name == "train" or name.endswith("/train")] or list(work.parts)[:1]
        work.on = [known(name, list(work.parts), "part") for name in options.on] or trains
    if options.cap:
        cap_classes(work, options.cap, rng)
    reachable = {}
    for part in work.on:
        if not len(work.parts[part]):
            raise ValueError(f"{part}: no picture is left")
        with _bar(progress and options.target is not None, SCALES, "target", "size") as step:
            found = resample(work, options, part, rng, step)
        if found:
            reachable[part] = found
        if options.label_noise is not None:
            add_label_noise(work, options.label_noise, part, rng)
    for part, images in work.parts.items():
        if not len(images):
            raise ValueError(f"{part}: no picture is left")
    for part in work.on:
        if (~pool.records.crowd).any() and not (~work.records(part).crowd).any():
            raise ValueError(f"{part}: no box is left, the filters leave all of them out")
    return Balanced(work, options, reachable, originals)


def _pooled(work: Working, options: Options) -> list[str]:
    return list(options.pool) or list(work.parts)


def _split(work: Working, options: Options, groups: np.ndarray | None, rng: np.random.Generator, progress: bool):
    pooled = _pooled(work, options)
    aside = {name: images for name, images in work.parts.items() if name not in pooled}
    images = np.sort(np.concatenate([work.parts[name] for name in pooled]))
    pairs = _pairs(work, images, progress) if options.near_duplicates else None
    if options.split:
        both = [name for name in options.split if name in aside]
        if both:
            raise ValueError(f"split: {both[0]!r} is a split that is not pooled; call the part otherwise, or pool it")
        made = split_images(work, images, options.split, options.at_least, groups, pairs, rng)
        work.parts = {**made, **aside}
        return
    shares = {f"fold{i}": 1 / options.folds for i in range(1, options.folds + 1)}
    folds = split_images(work, images, shares, options.at_least, groups, pairs, rng)
    work.parts = {}
    for name, held_out in folds.items():
        others = np.setdiff1d(images, held_out)
        inside = {"train": others, "val": held_out, **{key: part for key, part in aside.items() if key != "train"}}
        work.parts |= {f"{name}/{key}": part for key, part in inside.items()}


def _pairs(work: Working, images: np.ndarray, progress: bool) -> np.ndarray:
    """(E, 2) near-duplicates among these images, as indices into the pool."""
    with _bar(progress, len(images), "near-duplicates") as step:
        hashed = hash_pictures({"all": work.chosen(images)}, lambda done: step())
    if len(hashed["unreadable"]):
        work.notes.append(
            f"{len(hashed['unreadable'])} pictures cannot be read, so near-duplicates of them were not looked for"
        )
    pairs = images[hashed["image"]][near_duplicates(hashed)]
    if len(pairs):
        work.notes.append(f"{len(pairs)} pairs of near-duplicate pictures are kept together")
    return pairs


@contextmanager
def _bar(shown: Any, total: int, what: str, unit: str = "picture"):
    with tqdm(total=total, unit=unit, desc=what, disable=None if shown else True, leave=False) as bar:
        yield lambda: bar.update(1) and None
