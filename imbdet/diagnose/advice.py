"""Section 9: the findings of `rules.py` for this data, with commands, and measures before and after side by side."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..compare.structures import BASELINE
from ..runs import RunFolder
from .structures import Diagnosis, Missing

CONFIG = "baselines/faster_rcnn_lite0_custom"  #: of the commands where no config is given
MEASURES = ("AP", "AP50", "AP75", "AP90", "APs", "APm", "APl", "APr", "APc", "APf", "oLRP")


def advise_on(diagnosis: Diagnosis, config: str, root: str, train: str) -> dict[str, Any]:
    """Put the findings into the diagnosis; returns the section's numbers.

    Args:
        config: how a command names the config ("" for CONFIG). root: the data's folder, "" where the config names it.
    """
    from . import rules

    sections = diagnosis.sections
    if not sections:
        raise Missing("No section could be made, so there is nothing to advise on")
    _largest(sections)
    diagnosis.findings = rules.advise(sections, train, command_of(config or CONFIG, root, diagnosis.name))
    return {
        "rules": len(rules.RULES),
        "applied": [finding.rule for finding in diagnosis.findings],
        "not_measured": [rule.name for rule in rules.RULES if rules.look_up(sections, rule.measure, train) is None],
    }


def command_of(config: str, root: str, name: str) -> Callable[[str], str | None]:
    """remedy -> the `imbdet compare` command for this data, None where the config has no slot for it."""
    from ..config import load_config

    def command(remedy: str) -> str | None:
        try:
            load_config(config, [remedy])
        except (ValueError, FileNotFoundError):
            return None
        out = f"output/{Path(name).name or 'data'}_{remedy}".replace(" ", "_")
        words = ["imbdet", "compare", "--config", config, "--remedy", remedy, "--seeds", "5", "--out", out]
        return shlex.join([*words, *([f"data.root={root}"] if root else [])])

    return command


def before_after(run: str | Path, before: str | Path | None = None) -> dict[str, Any] | None:
    """Measures of two runs' own evaluations, side by side.

    Args:
        before: the run before; None: of a run in a comparison's folder (`runs/ARM/seed_S`) the baseline of its seed.

    Returns:
        {"runs": names, "rows": {measure: [before, after, difference]}, "note"}; classes are rows, too. None where there
        is no run before, or one of the two was not evaluated.
    """
    run = Path(run)
    if before is None:
        before = run.parent.parent / BASELINE / run.name
        if run.parent.name == BASELINE or not before.is_dir():
            return None
    before = Path(before)
    results = [RunFolder(folder).evaluation() for folder in (before, run)]
    if not all(results):
        return None
    rows = {key: [result.get(key) for result in results] for key in MEASURES}
    classes = [{row["name"]: row["AP"] for row in result.get("per_class", [])} for result in results]
    rows |= {f"AP of {key}": [one.get(key) for one in classes] for key in classes[0]}
    both = {key: values for key, values in rows.items() if None not in values and -1 not in values}
    return {
        "runs": [_short(before), _short(run), "difference"],
        "rows": {key: [*values, values[1] - values[0]] for key, values in both.items()},
        "note": "Two single runs: a difference is no evidence. The comparison's own report has seeds and intervals.",
    }


def _short(run: Path) -> str:
    return "/".join(run.resolve().parts[-2:])


def _largest(sections: dict[str, Any]) -> None:
    """Numbers that rules ask for, and that are the largest of several."""
    leaked = (sections.get("overlap", {}).get("duplicates") or {}).get("leaked")
    if leaked:
        sections["overlap"]["largest_leak"] = max(leaked.values())
    measured = sections.get("run", {}).get("measured")
    if measured:
        shares = [stage["loss"]["classification"]["background"] for stage in measured]
        sections["run"]["background_share"] = max((share for share in shares if share is not None), default=None)
