"""Section 9: the findings of `rules.py` for this data, with commands, and measures before and after side by side."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..compare.structures import BASELINE
from ..config import load_config
from . import rules
from .diagnosis import Diagnosis
from .structures import Missing

CONFIG = "baselines/faster_rcnn_lite0_custom"  #: of the commands where no config is given
MEASURES = ("AP", "AP50", "AP75", "AP90", "APs", "APm", "APl", "APr", "APc", "APf")


def advise_on(diagnosis: Diagnosis, config: str, root: str, train: str) -> dict[str, Any]:
    """Put the findings into the diagnosis; returns the section's numbers.

    Args:
        config: how a command names the config ("" for CONFIG). root: the data's folder, "" where the config names it.
    """
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

    def command(remedy: str) -> str | None:
        try:
            load_config(config, [remedy])
        except (ValueError, FileNotFoundError):
            return None
        out = f"output/{Path(name).name or 'data'}_{remedy}".replace(" ", "_")
        words = ["imbdet", "compare", "--config", config, "--remedy", remedy, "--seeds", "5", "--out", out]
        return shlex.join([*words, *([f"data.root={root}"] if root else [])])

    return command


def run_before(run: str | Path, before: str | Path | None = None) -> Path | None:
    """The run to put beside `run`: the one named, else of a run in a comparison (`runs/ARM/seed_S`) the baseline of its
    seed; None where there is none.
    """
    if before is not None:
        return Path(before)
    run = Path(run)
    baseline = run.parent.parent / BASELINE / run.name
    return baseline if run.parent.name != BASELINE and baseline.is_dir() else None


def side_by_side(before: dict[str, Any], after: dict[str, Any], runs: tuple[Path, Path]) -> dict[str, Any]:
    """The measures of two `run.diagnose_run`, by the same code on the same pictures.

    Returns:
        {"runs": names, "rows": {measure: [before, after, difference]}, "note"}; what one of the two lacks is left out.
    """
    rows = {
        key: values
        for key, *values in zip(_measures(after), _measures(before).values(), _measures(after).values(), strict=True)
    }
    both = {key: values for key, values in rows.items() if None not in values and -1 not in values}
    return {
        "runs": [*(_short(run) for run in runs), "difference"],
        "rows": {key: [*values, values[1] - values[0]] for key, values in both.items()},
        "note": "Two single runs: a difference is no evidence. The comparison's own report has seeds and intervals.",
    }


def _measures(numbers: dict[str, Any]) -> dict[str, float | None]:
    measures = {key: numbers["metrics"].get(key) for key in MEASURES}
    measures["oLRP (lower is better)"] = numbers["oLRP"]["oLRP"]
    measures |= {f"{what} errors cost (AP50)": cost for what, cost in numbers["tide"]["delta"].items()}
    measures["expected calibration error"] = numbers["calibration"]["error"]
    measures["objects found with their class, pooled"] = numbers["paradox"]["pooled"]
    measures["the same, mean of the classes"] = numbers["paradox"]["mean_of_classes"]
    return measures | {f"AP of {row['name']}": row["AP"] for row in sorted(numbers["rows"], key=lambda r: r["name"])}


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
