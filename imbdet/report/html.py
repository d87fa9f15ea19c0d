"""`write_report`: a run folder -> one HTML file.

Notable: the page holds everything it shows (style, SVG, pictures as data), has no script, and is written under
a temporary name first, so that a report that exists is whole.
"""

import functools
import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import markupsafe

from ..config import instantiate, load_config, yaml12
from ..evaluation import Detections
from ..runs import CONFIG, DETECTIONS
from ..write import write_whole
from . import plots, tables
from .numbers import points
from .pictures import make_pictures
from .run import Run, read_run


def write_report(
    run_dir: str | Path,
    out_html: str | Path,
    records: Any = None,
    detections: Any = None,
    differences: list[str] | None = None,
    title: str = "",
    max_pictures: int = 12,
) -> Path:
    """Write the page about the run in `run_dir` to `out_html` and return its path.

    Args:
        run_dir: a training's output_dir; whatever is missing in it is left out of the page.
        records: the Records that the run was evaluated on, for the pictures. By default they are built from the run's
            config (`data.val`).
        detections: Detections, or a COCO results file. By default `run_dir/detections.json`; without it there are no
            pictures.
        differences: lines that say how the config differs from its baseline; by default the remedies are named only.
        title: of the page; by default the name of the run folder.
        max_pictures: at most so many validation images.

    Raises:
        FileNotFoundError: no such run, or nothing in it to report.
        ValueError: a file of the run that cannot be read, or detections of other data than the records.
    """
    run = read_run(run_dir)
    page = describe(run, title or Path(run_dir).resolve().name, differences)
    page.update(gallery(run, records, detections, max_pictures))
    return write_whole(Path(out_html), render(page))


def describe(run: Run, title: str, differences: list[str] | None) -> dict[str, Any]:
    """Everything of the page but the pictures, by the names that the template uses."""
    rows = tables.class_rows(run.result)
    return {
        "title": title,
        "facts": facts(run),
        "remedies": remedies(run),
        "summary": tables.summary(run.result),
        "headlines": tables.headlines(run.result),
        "sizes": tables.size_rows(run.result),
        "rows": rows,
        "most_train": max((row.train or 0 for row in rows), default=0),
        "rule": tables.group_rule(run.result),
        "curves": present(plots.loss_curve(run), plots.ap_curve(run)),
        "class_plot": plots.ap_against_count(rows),
        "inside": present(*plots.share_plots(run), *plots.positive_plots(run), *plots.iou_plots(run)),
        "remarks": list(run.result.get("warnings") or []),
        "notes": list(run.result.get("notes") or []),
        "environment": tables.environment_rows(run.environment),
        "evaluator": evaluator(run.result),
        "differences": differences,
        "config": run.config_text,
        "pictures": [],
        "threshold": None,
        "no_pictures": "",
    }


def gallery(run: Run, records: Any, detections: Any, limit: int) -> dict[str, Any]:
    """The pictures and the score from which predictions are drawn; or why there are none."""
    if detections is None:
        detections = run.folder / DETECTIONS
        if not detections.exists():
            return {"no_pictures": f"The run folder holds no {DETECTIONS}, so there are no pictures to show."}
    if limit < 1:
        return {"no_pictures": "Left out."}
    if records is None:
        records = validation_records(run)
    if isinstance(detections, (str, Path, list)):
        detections = Detections.from_coco(detections, records.category_ids, records.class_names, records.keys)
    pictures, threshold = make_pictures(records, detections, limit)
    return {"pictures": pictures, "threshold": threshold}


def validation_records(run: Run, split: str = "val") -> Any:
    """The Records of `data.<split>`, built from the run's own config."""
    path = run.folder / CONFIG
    if not path.exists():
        raise ValueError(f"{run.folder} holds no config.yaml that names its data; give records=... for the pictures")
    return instantiate(load_config(path).data[split])


def facts(run: Run) -> list[str]:
    """The line below the title: what was trained on what, for how long."""
    made = run.environment.get("time")
    lines = []
    if made:
        lines.append(datetime.fromisoformat(made).strftime("%d %B %Y, %H:%M UTC").lstrip("0"))
    if run.iterations:
        lines.append(f"{run.iterations} iterations")
    images, objects = run.result.get("images"), run.result.get("objects")
    if images is not None and objects is not None:
        lines.append(f"evaluated on {images} images with {objects} objects")
    if run.environment.get("device"):
        device = run.environment.get("gpu") or run.environment["device"]
        threads = run.environment.get("threads")
        lines.append(f"{device}, {threads} threads" if threads else str(device))
    return lines


def remedies(run: Run) -> list[str]:
    """Names of the remedies in the run's config."""
    config = yaml12.read(run.config_text, CONFIG) if run.config_text else {}
    return [str(name) for name in (config or {}).get("remedies") or []]


def evaluator(result: dict[str, Any]) -> str:
    """Name, version and limits of the evaluator, which belong to every AP."""
    made = result.get("evaluator")
    if not isinstance(made, dict):
        return ""
    limits = "/".join(map(str, made.get("max_dets", [])))
    return f"{made.get('name')} {made.get('version')}, at most {limits} detections an image"


def present(*svgs: str) -> list[str]:
    return [svg for svg in svgs if svg]


def share_of(count: int | None, most: int) -> float:
    """Length of a bar for a count, 0..100, on a log scale: 1 box is still seen beside 10,000."""
    return 100 * math.log1p(count) / math.log1p(most) if count and most else 0.0


def breakable(text: Any) -> Any:
    """Escaped text that may be broken where the words of a name or a path meet."""
    parts = re.split(r"(?<=[_+/=])(?=[^\W\d])", str(text))
    return markupsafe.Markup("<wbr>").join(parts)


def from_here(name: str) -> str:
    """A name; of a file or folder of one's own the path from the current folder, without what is above it."""
    path = Path(name)
    if not path.is_absolute():
        return name
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name


def render(page: dict[str, Any], template: str = "report.html") -> str:
    """A template with its data; plots are trusted markup, all text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("imbdet.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=functools.partial(points, digits=1), bar=share_of, wbr=breakable, near=from_here)
    return environment.get_template(template).render(page)
