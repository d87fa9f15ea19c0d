"""How a balanced data set came about, as plain numbers, and the table of before and after."""

from __future__ import annotations

import datetime
import hashlib
import html
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from imbdet import __version__

from ..data.records import Records
from ..diagnose.classes import imbalance
from .build import Balanced
from .options import as_words

MOST_ROWS = 40  #: classes in the table on the terminal; the numbers of all are in balance.json
MOST_PARTS = 8
_MEASURES = ("ratio", "gini", "effective_classes")


@dataclass(frozen=True)
class Provenance:
    """What was done.

    Attributes:
        version: of imbdet. command: how to do it again. options: those that were given. seed: of every draw.
        date: of SOURCE_DATE_EPOCH, else the input's own date_created, else None: never the clock's, so that the same
            command writes the same bytes.
        input: name, fingerprint, and per split the file's name, its fingerprint, images and boxes.
        reachable: per part the bounds that were computed for a target.
        before, after: per split or part {"images", "different_images", "boxes", "classes": {name: {"boxes", "images"}},
            "ratio", "gini", "effective_classes"}.
        notes: what was done, in words.
        source_images: per part, [split, id in its file] of each image, in order.
    """

    version: str
    command: str
    options: dict[str, Any]
    seed: int
    date: str | None
    input: dict[str, Any]
    reachable: dict[str, dict[str, Any]]
    before: dict[str, dict[str, Any]]
    after: dict[str, dict[str, Any]]
    notes: tuple[str, ...]
    source_images: dict[str, list[list[Any]]]
    balanced: Balanced = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "balanced"}
        return {**values, "notes": list(self.notes)}

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """Headers and rows of the table: boxes of each class, images, measures; before, then after."""
        parts = [*(("before", name, row) for name, row in self.before.items())]
        parts += [("after", name, row) for name, row in list(self.after.items())[:MOST_PARTS]]
        names = list(dict.fromkeys(name for _, _, row in parts for name in row["classes"]))
        first = next(iter(self.before.values()))["classes"]
        names.sort(key=lambda name: -first.get(name, {"boxes": -1})["boxes"])
        if len(names) > MOST_ROWS:
            names = [*names[: MOST_ROWS // 2], *names[-(MOST_ROWS // 2) :]]
        rows = [[name, *(row["classes"].get(name, {}).get("boxes", "-") for _, _, row in parts)] for name in names]
        rows.append(["all boxes", *(row["boxes"] for _, _, row in parts)])
        rows.append(["images", *(row["images"] for _, _, row in parts)])
        rows.append(["different images", *(row["different_images"] for _, _, row in parts)])
        for measure in _MEASURES:
            values = (row[measure] for _, _, row in parts)
            rows.append([measure.replace("_", " "), *("-" if value is None else f"{value:.3g}" for value in values)])
        return ["", *(f"{name} {when}" for when, name, _ in parts)], rows

    def table(self) -> str:
        """The table as text, and the notes."""
        headers, rows = self.rows()
        text = tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1)))
        return "\n".join([text, *self.notes])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        headers, rows = self.rows()
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return f"{tabulate(rows, headers, tablefmt='html', disable_numparse=True)}<ul>{notes}</ul>"


def provenance_of(balanced: Balanced, name: str = "", command: str = "") -> Provenance:
    """name: of the input. command: by default the call from Python."""
    work, options = balanced.work, balanced.options
    splits = work.pool.splits
    prints = {key: part.fingerprint() for key, part in splits.items()}
    name = name or Path(str(next(iter(splits.values())).source)).name
    images = work.pool.records.images
    split_names = list(splits)
    source = {
        part: [[split_names[images.place(i)[0]], work.pool.image_key(i)] for i in indices.tolist()]
        for part, indices in work.parts.items()
    }
    return Provenance(
        version=__version__,
        command=command or f"imbdet.balance({name!r}, **{as_words(options)})",
        options=options.given(),
        seed=options.seed,
        date=_date(balanced),
        input={
            "name": name,
            "fingerprint": hashlib.sha256(repr(sorted(prints.items())).encode()).hexdigest()[:16],
            "splits": {
                key: {
                    "file": Path(str(part.source)).name,
                    "fingerprint": prints[key],
                    "images": len(part),
                    "boxes": int((~part.crowd).sum()),
                }
                for key, part in splits.items()
            },
        },
        reachable={part: {**asdict(found), "says": found.says()} for part, found in balanced.reachable.items()},
        before={key: _measure(part, len(part)) for key, part in splits.items()},
        after={part: _measure(work.records(part), len(np.unique(ids))) for part, ids in work.parts.items()},
        notes=tuple(work.notes),
        source_images=source,
        balanced=balanced,
    )


def final_records(balanced: Balanced) -> dict[str, Records]:
    """{part: Records} with ids of their own: those of the file where they are whole numbers and not yet taken, else new
    ones above all others. So repeats of an image, and images of two files with one id, become distinct.
    """
    work = balanced.work
    pool, made = work.pool, {}
    id_of_image = np.concatenate([part.image_ids for part in pool.splits.values()])
    id_of_object = balanced.originals.annotation_ids
    for part in work.parts:
        records = work.records(part)
        made[part] = replace(
            records,
            source=str(next(iter(pool.splits.values())).source),
            image_ids=fresh_ids(id_of_image[records.image_ids], least=0),
            annotation_ids=fresh_ids(id_of_object[records.annotation_ids], least=1),
        )
    return made


def fresh_ids(ids: np.ndarray, least: int) -> np.ndarray:
    """The same with every id once: the first of equal ones keeps it, others and those below `least` get new ones."""
    ids = np.asarray(ids, dtype=np.int64).copy()
    first = np.zeros(len(ids), dtype=bool)
    first[np.unique(ids, return_index=True)[1]] = True
    new = ~first | (ids < least)
    start = max(int(ids.max(initial=0)), 0) + 1
    ids[new] = np.arange(start, start + int(new.sum()))
    return ids


def _measure(records: Records, different: int) -> dict[str, Any]:
    boxes, images = records.class_counts(), records.image_counts()
    values = imbalance(boxes)
    return {
        "images": len(records),
        "different_images": different,
        "boxes": int(boxes.sum()),
        "classes": {
            name: {"boxes": int(b), "images": int(i)}
            for name, b, i in zip(records.class_names, boxes, images, strict=True)
        },
        **{key: values[key] for key in _MEASURES},
    }


def _date(balanced: Balanced) -> str | None:
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).isoformat()
    info = balanced.originals.files[0].info
    date = info.get("date_created") if isinstance(info, dict) else None
    return date if isinstance(date, str) else None
