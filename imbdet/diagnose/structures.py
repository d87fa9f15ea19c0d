"""The parts of a diagnosis: sections, findings, pictures with boxes."""

from __future__ import annotations

from dataclasses import dataclass

#: key -> title, in the order of the page
SECTIONS = {
    "classes": "Classes",
    "foreground": "Foreground and background",
    "size": "Size and shape",
    "place": "Place",
    "iou": "IoU of anchors and objects",
    "regression": "Regression loss",
    "overlap": "Overlap and duplicates",
    "run": "After a run",
    "advice": "What to try",
}


class Missing(Exception):
    """A section cannot be made of this input; the text says what is missing and what to give."""


@dataclass(frozen=True)
class Remedy:
    """A remedy that a finding suggests: its name, the command that tries it, what is known of its effect."""

    name: str
    command: str
    evidence: str


@dataclass(frozen=True)
class Finding:
    """One rule that applies: `value` is the measure, `limit` the rule's threshold."""

    rule: str
    section: str
    says: str
    measure: str
    value: float
    limit: float
    source: str
    reason: str
    refuted_by: str
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Mark:
    """A box on a picture, in pixels of the original. kind: "object", "odd" (what the picture is shown for), "other"."""

    x: float
    y: float
    width: float
    height: float
    label: str
    kind: str = "object"


@dataclass(frozen=True)
class Shown:
    """A picture as a data URI, its size in pixels, a caption, and boxes."""

    uri: str
    width: int
    height: int
    caption: str
    marks: tuple[Mark, ...] = ()
