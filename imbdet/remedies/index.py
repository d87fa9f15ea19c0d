"""The index of remedies, read from their docstrings.

The lines that are read: `imbdet/config/docstrings.py`.

What is notable here: files are parsed, not imported, so a remedy whose library is missing is listed all the same.
"""

import ast
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from imbdet.config import find_config, load_config, shipped_configs
from imbdet.config.docstrings import HOMES, home_alone, parse
from imbdet.config.remedy import find_remedy

from ..slots import SLOTS

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
        return tuple(word for word in re.findall(r"\w+", self.fields.get("Slot", "")) if word in SLOTS)

    @property
    def home(self) -> str:
        """The detector that it was made for, one of HOMES; "" where the docstring does not say."""
        words = re.findall(r"\w+", self.fields.get("Home", ""))
        return words[0] if words else ""

    @property
    def alone(self) -> bool:
        """Whether the other detector refuses it (`Home: faster_rcnn alone`)."""
        return bool(home_alone(self.fields.get("Home", "")))

    @property
    def files(self) -> dict[str, str]:
        """Its class, config and test: {"class": path, ...}, relative to a checkout."""
        folders = {"class": "imbdet/remedies", "config": "configs/remedies", "test": "tests/remedies"}
        prefix = {"test": "test_"}
        return {
            what: f"{folder}/{self.imbalance}/{prefix.get(what, '')}{self.name}.py" for what, folder in folders.items()
        }

    def fits(self, baseline: str, slots: Collection[str]) -> bool:
        """Whether a baseline config of that name that has those slots takes it."""
        at_home = baseline.rsplit("/", 1)[-1].startswith(f"{self.home}_")
        return set(self.slots) <= set(slots) and (at_home or not self.alone)


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


def slots_needed(name: str) -> tuple[str, ...]:
    """The slots that the remedy `name` fills, without repeats; () when it is not one of ours."""
    return tuple(dict.fromkeys(slot for entry in entries() if entry.name == name for slot in entry.slots))


def home_baseline(name: str, data: str = "shapes") -> str:
    """The baseline config on which the remedy `name` is to be judged: its home detector on that data.

    A remedy for either detector, and one from a file of one's own without a `Home:`, goes on the detector of the
    baseline that its config names.

    Args:
        name: as `find_remedy` takes it. data: the end of the baselines' names, "shapes", "r50_coco" or "lite0_custom".

    Returns:
        e.g. "baselines/retinanet_shapes".

    Raises:
        ValueError: an unknown remedy, or no baseline of that detector on that data.
    """
    remedy, known = find_remedy(name), shipped_configs("baselines")
    homes = [entry.home for entry in entries() if entry.name == remedy.name]  # none if it is sent to another place
    home = homes[0] if homes and homes[0] in HOMES[:2] else _detector_of(remedy.baseline)
    wanted = f"baselines/{home}_{data}"
    if wanted not in known:
        raise ValueError(f"no baseline of {home or 'an unknown detector'} on {data!r}; there are {', '.join(known)}")
    return wanted


def _detector_of(baseline: str) -> str:
    """ "baselines/faster_rcnn_shapes" -> "faster_rcnn"."""
    return next((home for home in HOMES[:2] if baseline.rsplit("/", 1)[-1].startswith(f"{home}_")), "")


def choose(slot: str | None = None, imbalance: str | None = None, detector: str | None = None) -> list[Entry]:
    """The entries that fill `slot`, act on `imbalance`, and that the config `detector` can take; None asks for any.

    Raises:
        ValueError, FileNotFoundError: an unknown slot, imbalance or config; the message names what there is.
    """
    for word, known, what in ((slot, SLOTS, "slot"), (imbalance, IMBALANCES, "imbalance")):
        if word is not None and word not in known:
            raise ValueError(f"unknown {what} {word!r}; known are {', '.join(known)}")
    found = [e for e in entries() if slot in (None, *e.slots) and imbalance in (None, e.imbalance)]
    return [entry for entry in found if _fits(entry, detector)] if detector else found


def _fits(entry: Entry, detector: str) -> bool:
    """Whether the remedy can be put on the config: tried, not guessed."""
    if detector in (name.rsplit("/", 1)[-1] for name in shipped_configs("baselines")):
        detector = f"baselines/{detector}"
    find_config(detector)  # a wrong name is the user's mistake, not the remedy's
    try:
        load_config(detector, [entry.name])
    except ValueError:
        return False
    return True


def remedy_table(chosen: Sequence[Entry]) -> str:
    """The entries as aligned text."""
    if not chosen:
        return "no remedy matches"
    rows = [("remedy", "imbalance", "home", "slot", "source")]
    rows += [(e.name, e.imbalance, e.home, ", ".join(e.slots), e.fields.get("Source", "")) for e in chosen]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[4]]) for row in rows)


def imbalance_titles() -> dict[str, tuple[str, str]]:
    """Return {imbalance: (its name in words, one sentence)}, from the first lines of the folders' docstrings."""
    found = {}
    for imbalance in IMBALANCES:
        text = (_FOLDER / imbalance / "__init__.py").read_text(encoding="utf-8")
        line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        title, _, sentence = line.partition(": ")
        found[imbalance] = (title, sentence[:1].upper() + sentence[1:])
    return found


def index_markdown(chosen: Sequence[Entry] | None = None) -> str:
    """Return the tables of docs/remedies/index.md: one section per imbalance, one row per remedy (of `chosen`)."""
    parts = []
    for imbalance, entries_here in _by_imbalance(chosen):
        title, sentence = imbalance_titles()[imbalance]
        parts += [f"## {imbalance}", "", f"{title}. {sentence}", ""]
        parts += ["| remedy | files | home | slot | what it does | source |", "|---|---|---|---|---|---|"]
        for entry in entries_here:
            name, slots = f'<a id="{entry.name}"></a>{entry.name}', ", ".join(entry.slots)
            files = " ".join(f"[{what}](../../{path})" for what, path in entry.files.items())
            parts.append(_row(name, files, entry.home, slots, entry.deed, entry.fields.get("Source", "")))
        parts.append("")
    return "\n".join(parts).rstrip()


def summary_markdown(chosen: Sequence[Entry] | None = None) -> str:
    """Return the short form for README.md: one row per imbalance, names linked to docs/remedies/index.md."""
    rows = [_row("imbalance", "remedies"), "|---|---|"]
    for imbalance, entries_here in _by_imbalance(chosen):
        page, title = "docs/remedies/index.md", imbalance_titles()[imbalance][0]
        names = ", ".join(f"[{entry.name}]({page}#{entry.name})" for entry in entries_here)
        rows.append(_row(f"{title} ([{imbalance}]({page}#{imbalance}))", names))
    return "\n".join(rows)


def _by_imbalance(chosen: Sequence[Entry] | None) -> list[tuple[str, list[Entry]]]:
    """Return the imbalances, in order, that have entries, with these."""
    chosen = entries() if chosen is None else chosen
    groups = [(imbalance, [entry for entry in chosen if entry.imbalance == imbalance]) for imbalance in IMBALANCES]
    return [group for group in groups if group[1]]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


BEGIN, END = "<!-- remedies:begin -->", "<!-- remedies:end -->"
PAGES = {"docs/remedies/index.md": index_markdown, "README.md": summary_markdown}


def with_table(text: str, page: str, chosen: Sequence[Entry] | None = None) -> str:
    """Return the text of `page`, one of PAGES, with its table of all remedies between the markers BEGIN and END.

    Raises:
        ValueError: the markers are not there, once each and in this order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"{page} must hold the lines {BEGIN} and {END}, once each and in this order")
    return f"{before}{BEGIN}\n{PAGES[page](chosen)}\n{END}{after}"
