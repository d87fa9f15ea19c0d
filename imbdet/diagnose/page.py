"""A Diagnosis -> one HTML page.

Notable: this file only frames the page; what each section shows is in `page_parts.py`. The page has no script, loads
nothing, and all text in it is escaped (plots escape their own).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jinja2

from . import page_anchors, page_data, page_parts, page_run, svg
from .page_parts import Part, Table
from .structures import SECTIONS

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

DRAW = {
    "classes": page_parts.classes,
    "foreground": page_anchors.foreground,
    "size": page_data.size,
    "place": page_data.place,
    "iou": page_anchors.iou,
    "regression": page_anchors.regression,
    "overlap": page_data.overlap,
    "run": page_run.run,
    "advice": page_run.advice,
}


def render(diagnosis: Diagnosis) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("imbdet.diagnose"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = svg.number
    parts = [_part(diagnosis, key, title) for key, title in SECTIONS.items()]
    splits = Table(
        "",
        ["split", "file", "images", "without objects", "boxes", "crowd regions", "classes"],
        [
            [name, *(row[key] for key in ("source", "images", "empty_images", "boxes", "crowd", "classes"))]
            for name, row in diagnosis.splits.items()
        ],
    )
    page = {"title": diagnosis.name, "splits": splits, "parts": parts, "notes": diagnosis.notes}
    return environment.get_template("diagnose.html").render(page)


def _part(diagnosis: Diagnosis, key: str, title: str) -> dict[str, Any]:
    numbers = diagnosis.sections.get(key)
    part = Part()
    if key in DRAW and numbers is not None:
        DRAW[key](numbers, part)
    galleries = [
        (name.partition("/")[2], [(svg.picture(shown), shown.caption) for shown in pictures])
        for name, pictures in diagnosis.pictures.items()
        if name.partition("/")[0] == key and pictures
    ]
    return {
        "key": key,
        "title": title,
        "missing": diagnosis.missing.get(key, ""),
        "lead": part.lead,
        "warnings": part.warnings,
        "plots": [plot for plot in part.plots if plot],
        "maps": [plot for plot in part.maps if plot],
        "tables": [block for block in part.tables if block.rows],
        "galleries": galleries,
        "findings": diagnosis.findings if key == "advice" else [],
    }
