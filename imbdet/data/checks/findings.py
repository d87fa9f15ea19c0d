"""What the checks found, counted and kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imbdet.data.checks.rules import ERROR, RULES, SEVERITIES

KEPT = 10_000  # findings of one kind in one file that are kept; all are counted


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        code: a key of `rules.RULES`.
        file: the annotation file.
        value: what was found there, as text.
        image_id, annotation_id: where, as in the file; None where it does not apply.
        place: where in the file, e.g. "$.annotations[3].bbox".
        right: what would be right here; default: the rule's.
        fixable: whether `--fix` repairs it without dropping anything.
        droppable: whether `--fix --drop` drops the entry.
    """

    code: str
    file: str
    value: str = ""
    image_id: Any = None
    annotation_id: Any = None
    place: str = ""
    right: str = ""
    fixable: bool = False
    droppable: bool = False

    def __post_init__(self):
        object.__setattr__(self, "right", self.right or RULES[self.code].right)
        object.__setattr__(self, "value", self.value.encode("utf-8", "backslashreplace").decode())

    @property
    def severity(self) -> str:
        return RULES[self.code].severity

    def __str__(self) -> str:
        where = [f"image {self.image_id}"] if self.image_id is not None else []
        where += [f"annotation {self.annotation_id}"] if self.annotation_id is not None else []
        where += [self.place] if self.place else []
        return ", ".join(where) + (": " if where and self.value else "") + self.value

    def to_dict(self) -> dict:
        """Return all of it, for a JSON file."""
        fields = (
            "severity",
            "code",
            "file",
            "image_id",
            "annotation_id",
            "place",
            "value",
            "right",
            "fixable",
            "droppable",
        )
        return {field: getattr(self, field) for field in fields}


class Findings:
    """A list of findings that stays small when every annotation of a large file has the same fault."""

    def __init__(self):
        self._kept: dict[tuple[str, str], list[Finding]] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, code: str, file: str, value: str = "", **details) -> None:
        """Count a finding, and keep it if there are not too many of its kind; `details` as of `Finding`."""
        key = (file, code)
        self._counts[key] = self._counts.get(key, 0) + 1
        kept = self._kept.setdefault(key, [])
        if len(kept) < KEPT:
            kept.append(Finding(code, file, value, **details))

    def include(self, finding: Finding) -> None:
        """Count and keep a finding that was made elsewhere."""
        key = (finding.file, finding.code)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._kept.setdefault(key, []).append(finding)

    def count(self, *codes: str, severity: str | None = None, file: str | None = None) -> int:
        """Return how many findings there are of these codes (of all, if none is given), this severity, this file."""
        return sum(
            count
            for (where, code), count in self._counts.items()
            if (not codes or code in codes)
            and (severity is None or RULES[code].severity == severity)
            and (file is None or where == file)
        )

    def has(self, code: str, start: str) -> bool:
        """Return whether a finding of this code, of any file, has a value that begins so."""
        return any(f.value.startswith(start) for (_, of), kept in self._kept.items() if of == code for f in kept)

    def __iter__(self) -> Iterable[Finding]:
        """Yield the kept findings, errors first, each kind of a file together."""
        for severity in SEVERITIES:
            for (_, code), kept in self._kept.items():
                if RULES[code].severity == severity:
                    yield from kept

    def groups(self) -> list[tuple[str, str, int, list[Finding]]]:
        """Return (file, code, count, kept findings) of each kind in each file, errors first."""
        keys = sorted(self._counts, key=lambda key: SEVERITIES.index(RULES[key[1]].severity))
        return [(*key, self._counts[key], self._kept[key]) for key in keys]

    def to_dict(self) -> dict:
        """Return, for a JSON file, counts by severity and by kind and file, and the findings."""
        return {
            "counts": {severity: self.count(severity=severity) for severity in SEVERITIES},
            "kinds": [
                {"file": file, "code": code, "severity": RULES[code].severity, "count": count}
                for file, code, count, _ in self.groups()
            ],
            "findings": [finding.to_dict() for finding in self],
        }

    def summary(self, examples: int = 3) -> str:
        """Return the findings grouped by kind, each with its number, the first few, and what would be right."""
        lines = []
        for file, code, count, kept in self.groups():
            rule = RULES[code]
            lines.append(f"{rule.severity}: {rule.title} ({code}), {count} in {file}{_hint(kept)}")
            shown = [str(finding) for finding in kept[:examples]]
            lines += [f"    {text}" for text in shown if text]
            if count > len(shown) and any(shown):
                lines.append(f"    ... and {count - len(shown)} more")
            rights = list(dict.fromkeys(finding.right for finding in kept[: max(examples, 1)]))
            lines += [f"    right: {right}" for right in rights]
        totals = ", ".join(f"{self.count(severity=s)} {s}{'s' if s != 'info' else ''}" for s in SEVERITIES)
        return "\n".join([*lines, totals])

    @property
    def has_errors(self) -> bool:
        return self.count(severity=ERROR) > 0


def _hint(kept: list[Finding]) -> str:
    """What the repair does about findings of one kind."""
    fixable, droppable = sum(f.fixable for f in kept), sum(f.droppable for f in kept)
    hints = ["--fix" if fixable == len(kept) else "--fix repairs some"] if fixable else []
    hints += ["--fix --drop drops " + ("the others" if fixable else "them")] if droppable else []
    return f" [{'; '.join(hints)}]" if hints else ""
