"""What a diagnosis is: plain numbers by section, what is missing, findings, and a few pictures.

Notable: `sections` and `missing` together hold all of SECTIONS, so that a report never leaves a question out in
silence: what could not be measured has a sentence that says why, and what to give.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclass
class Diagnosis:
    """What `imbdet.diagnose` found.

    Attributes:
        name: of the data.
        splits: {split: {"source", "images", "boxes", "empty_images", "crowd", "classes"}}.
        sections: {section: numbers}, plain dicts, lists, numbers, strings and None.
        missing: {section: why it could not be made}.
        findings: the rules that apply, most pressing section first; [] says that there is nothing to do.
        notes: what the numbers were measured on (samples, settings).
        pictures: {gallery: pictures}, for the page only.
    """

    name: str
    splits: dict[str, dict[str, Any]]
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, list[Shown]] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the pictures, as JSON can hold it: numbers that are not finite are None."""
        from dataclasses import asdict

        whole = {"name": self.name, "splits": self.splits, "sections": self.sections, "missing": self.missing}
        return plain({**whole, "findings": [asdict(f) for f in self.findings], "notes": self.notes})

    def html(self, path: str | Path | None = None) -> str:
        """The page as text; written to `path` too, if given."""
        from ..report.html import write_whole
        from .page import render

        text = render(self)
        if path is not None:
            write_whole(Path(path), text)
        return text

    def json(self, path: str | Path) -> None:
        """Write `to_dict()` at full precision."""
        import json

        from ..report.html import write_whole

        write_whole(Path(path), json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that a notebook's style and the page's do not meet."""
        frame = "width:100%;height:80vh;border:1px solid #8884;border-radius:8px"
        return f'<iframe title="imbdet diagnose" style="{frame}" srcdoc="{html.escape(self.html())}"></iframe>'


def plain(value: Any) -> Any:
    """Containers and numbers as JSON holds them."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
