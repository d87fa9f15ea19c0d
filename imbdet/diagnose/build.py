"""All sections of one diagnosis, in order; what cannot be made says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import reference
from .classes import JUDGED, diagnose_classes
from .inputs import as_splits, describe
from .structures import Diagnosis, Missing


def build(records: Any, cfg: Any, run: Any, name: str, split: str, read_pictures: bool, progress: bool) -> Diagnosis:
    """`imbdet.diagnose`; see there."""
    splits = as_splits(records)
    train = next(iter(splits.values()))
    diagnosis = Diagnosis(name or Path(train.source).stem, describe(splits))

    def section(key: str, make: Callable[[], dict[str, Any]]) -> None:
        try:
            diagnosis.sections[key] = make()
        except Missing as missing:
            diagnosis.missing[key] = str(missing)

    section("classes", lambda: _classes(splits))
    return diagnosis


def _classes(splits: dict[str, Any]) -> dict[str, Any]:
    numbers = diagnose_classes(splits)
    names = list(next(iter(splits.values())).class_names)
    return {**numbers, "class_names": names, "judged_half_width": JUDGED, "reference": reference.IMBALANCE}
