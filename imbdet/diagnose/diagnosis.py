"""What a diagnosis is: plain numbers by section, what is missing, findings, and a few pictures.

Notable: `sections` and `missing` together hold all of SECTIONS, so that a report never leaves a question out in
silence: what could not be measured has a sentence that says why, and what to give.
"""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..write import write_whole
from .page import render
from .structures import Finding, Shown


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
        whole = {"name": self.name, "splits": self.splits, "sections": self.sections, "missing": self.missing}
        return plain({**whole, "findings": [asdict(f) for f in self.findings], "notes": self.notes})

    def html(self, path: str | Path | None = None) -> str:
        """The page as text; written to `path` too, if given."""
        text = render(self)
        if path is not None:
            write_whole(Path(path), text)
        return text

    def json(self, path: str | Path) -> None:
        """Write `to_dict()` at full precision."""
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
