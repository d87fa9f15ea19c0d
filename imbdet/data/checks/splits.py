"""What must agree between a training file and another one: their classes, matched by name."""

from __future__ import annotations

from imbdet.data.checks.findings import Findings


def compare_classes(
    train: dict[str, int], other: dict[str, int], boxes: dict[str, int], file: str, findings: Findings
) -> None:
    """Add how the classes of a file differ from those of the training file.

    Args:
        train, other: {name: category id} of both files.
        boxes: {name: number of boxes} of the other file.
        file: the other file.
    """
    for name in other:
        if name not in train and boxes.get(name, 0):
            near = next((f"; train has {t!r}" for t in train if t.strip().lower() == name.strip().lower()), "")
            findings.add("classes_differ", file, f"{name!r} with {boxes[name]} boxes{near}")
    missing = [name for name in train if name not in other]
    for name in missing:
        findings.add("class_missing", file, repr(name))
    moved = [name for name in other if name in train and train[name] != other[name]]
    if moved:
        value = f"{len(moved)} classes, e.g. {moved[0]!r}: {train[moved[0]]} in train, {other[moved[0]]} here"
        findings.add("category_ids_differ", file, value)
