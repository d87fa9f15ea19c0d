"""The index of remedies, read from their docstrings.

Every remedy's docstring has five fixed lines, in this order, each of which may run over indented lines:

    Slot: classification
    Imbalance: class_fg_bg
    Source: Lin et al. 2017, arXiv 1708.02002, equation 5
    Neutral: gamma=0, alpha=None equals cross entropy
    Differs: nothing

What is notable here: files are parsed, not imported, so a remedy whose library is missing is listed all the same.
"""

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FIELDS = ("Slot", "Imbalance", "Source", "Neutral", "Differs")
IMBALANCES = (
    "class_fg_bg",
    "class_fg_fg",
    "spatial_regression",
    "spatial_iou",
    "spatial_location",
    "scale",
    "objective",
)
_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Entry:
    """One remedy as its docstring tells it.

    `fields` holds the text of each of FIELDS that is there; `target` is its import name.
    """

    name: str
    imbalance: str
    target: str
    deed: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that it fills, e.g. ("classification",)."""
        return tuple(word for word in re.findall(r"\w+", self.fields.get("Slot", "")) if word in _slot_names())


def _slot_names() -> tuple[str, ...]:
    from imbdet.slots import SLOTS  # here, because it imports torch

    return tuple(SLOTS)


@cache
def entries() -> tuple[Entry, ...]:
    """All remedies, by imbalance and name."""
    found = []
    for imbalance in IMBALANCES:
        for path in sorted((_FOLDER / imbalance).glob("*.py")):
            if not path.name.startswith("_"):
                found += read_file(path)
    return tuple(found)


def read_file(path: Path) -> list[Entry]:
    """The remedies of one file: its public classes and functions whose docstring has a `Slot:` line."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name.startswith("_"):
            continue
        fields = parse(ast.get_docstring(node) or "")
        if "Slot" in fields:
            deed = (ast.get_docstring(node) or "").strip().splitlines()[0]
            target = f"imbdet.remedies.{path.parent.name}.{path.stem}.{node.name}"
            found.append(Entry(path.stem, path.parent.name, target, deed, fields))
    return found


def parse(docstring: str) -> dict[str, str]:
    """{field: text} of the fixed lines; a line indented deeper than its field continues it."""
    found: dict[str, str] = {}
    current = ""
    for line in docstring.splitlines():
        match = re.match(r"(\s*)(\w+):\s*(.*)", line)
        if match and match[2] in FIELDS and match[2] not in found:
            current = match[2]
            found[current] = match[3].strip()
        elif current and line.strip() and line[:1].isspace():
            found[current] += f" {line.strip()}"
        else:
            current = ""
    return found


def slots_needed(name: str) -> tuple[str, ...]:
    """The slots that the remedy `name` fills, without repeats; () when it is not one of ours."""
    return tuple(dict.fromkeys(slot for entry in entries() if entry.name == name for slot in entry.slots))
