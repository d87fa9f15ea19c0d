"""All sections of one diagnosis, in order; what cannot be made says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..evaluation.classes import match_classes
from ..evaluation.ground_truth import as_ground_truth
from . import reference
from .advice import advise_on, run_before, side_by_side
from .anchors import MOST_IMAGES, anchored, match_sample
from .classes import JUDGED, diagnose_classes
from .diagnosis import Diagnosis
from .duplicates import diagnose_duplicates, hash_pictures
from .foreground import diagnose_foreground
from .gallery import show_duplicates, show_outliers, show_suspicious, show_unmatched
from .inputs import as_splits, describe
from .iou import diagnose_iou
from .labels import suspicious_labels
from .measured import measure
from .overlap import diagnose_overlap
from .place import diagnose_place
from .regression import diagnose_regression
from .run import diagnose_run, open_run
from .size import diagnose_size
from .structures import Missing


@dataclass(frozen=True)
class Options:
    """The arguments of `imbdet.diagnose` besides the data; see there."""

    cfg: Any
    run: Any
    name: str
    config: str
    before: Any
    split: str
    read_pictures: bool
    progress: bool


def build(records: Any, options: Options) -> Diagnosis:
    """`imbdet.diagnose`; see there."""
    splits = as_splits(records)
    train = next(iter(splits.values()))
    pictures = options.read_pictures
    diagnosis = Diagnosis(options.name or Path(train.source).stem, describe(splits))
    section = _section_of(diagnosis)
    section("classes", lambda: _classes(splits))
    part = _anchored(diagnosis, options.cfg, train)
    if part is None:
        section("size", lambda: {**diagnose_size(splits), "reference": reference.SIZES})
    else:
        stride = min(part.strides.values())
        sizes = {"reference": reference.SIZES}
        section("size", lambda: {**diagnose_size(splits, part.resize, stride, configured=True), **sizes})
        _anchor_sections(diagnosis, train, part, pictures)
    section("place", lambda: {**diagnose_place(splits), "reference": reference.FRACTAL})
    section("overlap", lambda: diagnose_overlap(splits))
    if "size" in diagnosis.sections and pictures:
        shown = show_outliers(train, diagnosis.sections["size"]["outliers"])
        diagnosis.pictures["size/Outliers of size and shape"] = shown
    _run(diagnosis, splits, options)
    if "overlap" in diagnosis.sections:
        _duplicates(diagnosis, splits, pictures, options.progress)
    section("advice", lambda: advise_on(diagnosis, options.config, _root(records), next(iter(splits))))
    return diagnosis


def _root(records: Any) -> str:
    """The folder that a command can name as data.root; "" where the data is no folder."""
    paths = [records] if isinstance(records, (str, Path)) else records
    return str(paths[0]) if isinstance(paths, (list, tuple)) and Path(str(paths[0])).is_dir() else ""


def _section_of(diagnosis: Diagnosis) -> Callable[[str, Callable[[], dict[str, Any]]], None]:
    def section(key: str, make: Callable[[], dict[str, Any]]) -> None:
        try:
            diagnosis.sections[key] = make()
        except Missing as missing:
            diagnosis.missing[key] = str(missing)

    return section


def _anchored(diagnosis: Diagnosis, cfg: Any, train: Any) -> Any:
    """The config's anchored part, or None with the reason in the sections that need it."""
    try:
        if cfg is None:
            raise Missing(
                "Needs a config, whose resize, anchors and matcher are measured without a training: add "
                "--config baselines/faster_rcnn_lite0_custom, or the config that you will train"
            )
        return anchored(cfg, train)
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
    section("regression", lambda: diagnose_regression(sample, part))
    if read_pictures:
        worst = diagnosis.sections["iou"]["worst"]
        diagnosis.pictures["iou/Objects that anchors fit worst"] = show_unmatched(train, worst)


def _run(diagnosis: Diagnosis, splits: dict[str, Any], options: Options) -> None:
    """Section 8, and what the run adds to sections 2, 5 and 7."""
    run, split, read_pictures = options.run, options.split, options.read_pictures
    if run is None:
        diagnosis.missing["run"] = "Needs a run: train on this data, then add --run DIR, the folder of the training"
        return
    train = next(iter(splits.values()))
    try:
        trained = open_run(run, splits, split)
        numbers = diagnose_run(trained, train)
    except Missing as missing:
        diagnosis.missing["run"] = str(missing)
        return
    diagnosis.sections["run"] = numbers
    numbers["before_after"] = _before_after(numbers, splits, options)
    truth, found = match_classes(as_ground_truth(trained.records), trained.found)
    if "overlap" in diagnosis.sections and len(truth.label) == trained.records.num_objects:
        labels = suspicious_labels(trained.records, truth, found)
        diagnosis.sections["overlap"]["suspicious"] = {**labels, "split": split}
        if read_pictures:
            diagnosis.pictures["overlap/Suspicious labels"] = show_suspicious(trained.records, labels)
    predictor = trained.predictor
    if predictor is None or not read_pictures or tuple(predictor.class_names) != train.class_names:
        return
    measured = measure(predictor.model, train, predictor.resize)
    numbers["measured"] = measured
    numbers["measured_note"] = f"Of {measured[0]['images']} training images, in training mode." if measured else ""
    for key in ("foreground", "iou"):
        diagnosis.sections.setdefault(key, {})["stages"] = measured
        diagnosis.missing.pop(key, None)


def _before_after(numbers: dict[str, Any], splits: dict[str, Any], options: Options) -> dict[str, Any] | None:
    """The run before, measured in the same way; None where there is none, or nothing of it to measure."""
    before = run_before(options.run, options.before)
    if before is None:
        return None
    try:
        earlier = diagnose_run(open_run(before, splits, options.split), next(iter(splits.values())))
    except Missing:
        return None
    return side_by_side(earlier, numbers, (before, Path(options.run)))


def _duplicates(diagnosis: Diagnosis, splits: dict[str, Any], read_pictures: bool, progress: bool) -> None:
    """Near-duplicate pictures into the section of overlap, or why not."""
    numbers = diagnosis.sections["overlap"]
    if not read_pictures:
        numbers["no_duplicates"] = "Pictures were not read, so near-duplicates were not looked for."
        return
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
    others = {"reference": reference.IMBALANCE, "reference_objects": reference.OBJECTS}
    return {**numbers, "class_names": names, "judged_half_width": JUDGED, **others}
