"""All sections of one diagnosis, in order; what cannot be made says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import reference
from .anchors import MOST_IMAGES, anchored, match_sample
from .classes import JUDGED, diagnose_classes
from .duplicates import diagnose_duplicates, hash_pictures
from .foreground import diagnose_foreground
from .gallery import show_duplicates, show_outliers, show_unmatched
from .inputs import as_splits, describe
from .iou import diagnose_iou
from .overlap import diagnose_overlap
from .place import diagnose_place
from .regression import diagnose_regression
from .size import diagnose_size
from .structures import Diagnosis, Missing


def build(records: Any, cfg: Any, run: Any, name: str, split: str, read_pictures: bool, progress: bool) -> Diagnosis:
    """`imbdet.diagnose`; see there."""
    splits = as_splits(records)
    train = next(iter(splits.values()))
    diagnosis = Diagnosis(name or Path(train.source).stem, describe(splits))

    section = _section_of(diagnosis)
    section("classes", lambda: _classes(splits))
    part = _anchored(diagnosis, cfg)
    if part is None:
        section("size", lambda: diagnose_size(splits))
    else:
        stride = min(part.strides.values())
        section("size", lambda: diagnose_size(splits, part.resize, stride, configured=True))
        _anchor_sections(diagnosis, train, part, read_pictures)
    section("place", lambda: {**diagnose_place(splits), "reference": reference.FRACTAL})
    section("overlap", lambda: diagnose_overlap(splits))
    if "size" in diagnosis.sections and read_pictures:
        shown = show_outliers(train, diagnosis.sections["size"]["outliers"])
        diagnosis.pictures["size/Outliers of size and shape"] = shown
    if "overlap" in diagnosis.sections:
        _duplicates(diagnosis, splits, read_pictures, progress)
    return diagnosis


def _section_of(diagnosis: Diagnosis) -> Callable[[str, Callable[[], dict[str, Any]]], None]:
    def section(key: str, make: Callable[[], dict[str, Any]]) -> None:
        try:
            diagnosis.sections[key] = make()
        except Missing as missing:
            diagnosis.missing[key] = str(missing)

    return section


def _anchored(diagnosis: Diagnosis, cfg: Any) -> Any:
    """The config's anchored part, or None with the reason in the sections that need it."""
    try:
        if cfg is None:
            raise Missing(
                "Needs a config, whose resize, anchors and matcher are measured without a training: add "
                "--config baselines/faster_rcnn_lite0_custom, or the config that you will train"
            )
        return anchored(cfg)
    except Missing as missing:
        diagnosis.missing.update(dict.fromkeys(("foreground", "iou", "regression"), str(missing)))
        return None


def _anchor_sections(diagnosis: Diagnosis, train: Any, part: Any, read_pictures: bool) -> None:
    """Sections 2, 5 and 6 of one sample of the training images."""
    section = _section_of(diagnosis)
    try:
        sample = match_sample(train, part)
    except Missing as missing:
        diagnosis.missing.update(dict.fromkeys(("foreground", "iou", "regression"), str(missing)))
        return
    if len(sample.images) == MOST_IMAGES:
        diagnosis.notes.append(
            f"Sections 2 and 6 and the positives of section 5 were measured on {MOST_IMAGES} images of the training "
            "split, evenly through it; all other numbers on all images."
        )
    section("foreground", lambda: diagnose_foreground(sample, part))
    section("iou", lambda: diagnose_iou(train, sample, part))
    section("regression", lambda: diagnose_regression(sample))
    if read_pictures:
        worst = diagnosis.sections["iou"]["worst"]
        diagnosis.pictures["iou/Objects that anchors fit worst"] = show_unmatched(train, worst)


def _duplicates(diagnosis: Diagnosis, splits: dict[str, Any], read_pictures: bool, progress: bool) -> None:
    """Near-duplicate pictures into the section of overlap, or why not."""
    numbers = diagnosis.sections["overlap"]
    if not read_pictures:
        numbers["no_duplicates"] = "Pictures were not read, so near-duplicates were not looked for."
        return
    from tqdm import tqdm

    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="pictures", unit="picture", disable=None if progress else True, leave=False) as bar:
        hashed = hash_pictures(splits, bar.update)
    if not len(hashed["hash"]) and hashed["unreadable"]:
        numbers["no_duplicates"] = (
            "No picture was found beside the annotations, so near-duplicates were not looked for."
        )
        return
    numbers["duplicates"] = diagnose_duplicates(splits, hashed)
    diagnosis.pictures["overlap/Near-duplicate pictures"] = show_duplicates(splits, numbers["duplicates"])


def _classes(splits: dict[str, Any]) -> dict[str, Any]:
    numbers = diagnose_classes(splits)
    names = list(next(iter(splits.values())).class_names)
    return {**numbers, "class_names": names, "judged_half_width": JUDGED, "reference": reference.IMBALANCE}
