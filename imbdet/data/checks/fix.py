"""Repair of a COCO file, as far as no person's judgment is needed, with an account of every entry.

Notable: the repairs are those that the rules bring along, applied in the order of the rules. What can be computed is
computed; an entry is dropped only on demand. Nothing else in the file is touched: info, licenses, segmentations and
extra keys stay.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field

from imbdet.data.checks.pictures import PictureSet
from imbdet.data.checks.rules import ERROR, RULES, Rule
from imbdet.data.checks.table import FileTable
from imbdet.data.datasets.coco_plain import PARTS


class CannotFix(ValueError):
    """The file needs a person's decision first."""


@dataclass
class Account:
    """What a repair did.

    Attributes:
        before, kept: {part: entries}, before and after.
        changed: {part: entries that are kept and were changed}.
        changes, dropped, merged, left: {what, with the rule's code: how often}; `left` is what only dropping would
            remove.
    """

    before: dict[str, int]
    kept: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    changes: Counter = field(default_factory=Counter)
    merged: Counter = field(default_factory=Counter)
    dropped: Counter = field(default_factory=Counter)
    left: Counter = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Return the account in words."""
        lines = []
        for part in PARTS:
            gone = self.before[part] - self.kept[part]
            merged = sum(count for (of, _), count in self.merged.items() if of == part)
            words = f"{self.kept[part]} of {self.before[part]} kept, of these {self.changed[part]} changed"
            lines.append(f"{part}: {words}; {gone - merged} dropped" + (f", {merged} merged" if merged else ""))
        for title, counts in (("changed", self.changes), ("merged", self.merged), ("dropped", self.dropped)):
            lines += [f"{title}: {count} {part}: {what}" for (part, what), count in counts.items()]
        for (part, what), count in self.left.items():
            lines.append(f"NOT repaired: {count} {part}: {what}; nothing can be computed, and --drop would drop them")
        return lines


def repair(coco: dict, pictures: PictureSet | None = None, drop: bool = False) -> tuple[dict, Account]:
    """Return a repaired copy of a COCO file.

    Args:
        coco: the file as plain objects.
        pictures: what was found about its pictures, or None if they were not looked at.
        drop: drop the entries that cannot be repaired.

    Raises:
        CannotFix: a part is missing, the boxes are not in COCO's convention, or most pictures would be dropped.
    """
    for part in PARTS:
        if not isinstance(coco.get(part), list):
            raise CannotFix(f"$.{part} is not there, or no list: that cannot be made up")
    fixed = {**coco, **{part: [copy.copy(entry) for entry in coco[part]] for part in PARTS}}
    table = FileTable(fixed, "", pictures)
    for hit in RULES["box_convention"].find(table):
        raise CannotFix(f"{hit.value}: convert all of them first")
    if drop and pictures is not None:
        _refuse_wrong_folder(pictures)
    account = Account({part: len(fixed[part]) for part in PARTS})
    for rule in RULES.values():
        if rule.find is not None:
            table = _apply(rule, table, drop, account)
    for part in PARTS:
        account.kept[part] = len(fixed[part])
        account.changed[part] = sum(table.changed.get(id(entry)) == part for entry in fixed[part])
    return fixed, account


def _apply(rule: Rule, table: FileTable, drop: bool, account: Account) -> FileTable:
    """Repair the hits of one rule; returns the table of what the file is then."""
    any_change, merges = False, rule.code.startswith("duplicate_") and rule.code != "duplicate_annotation_id"
    gone: set[tuple[str, int]] = set()
    for hit in list(rule.find(table)):
        if (hit.part, hit.index) in gone:
            continue
        if hit.mend is not None:
            what = (hit.part, f"{hit.mend()} ({rule.code})")
            (account.merged if merges else account.changes)[what] += 1
            any_change = True
        elif rule.drops and hit.index >= 0 and not hit.keep:
            what = (hit.part, f"{rule.title} ({rule.code})")
            if drop:
                table.remove(hit)
                gone.add((hit.part, hit.index))
                account.dropped[what] += 1
                any_change = True
            elif rule.severity == ERROR:
                account.left[what] += 1
    return table.compacted() if any_change else table


def _refuse_wrong_folder(pictures: PictureSet) -> None:
    gone = [p for p in pictures.pictures.values() if p.status in ("missing", "unreadable")]
    if len(gone) > len(pictures.pictures) / 2:
        raise CannotFix(
            f"{len(gone)} of {len(pictures.pictures)} pictures are not readable in {pictures.folder}: is it the right "
            "folder (--images DIR)?"
        )
