"""From the runs of a grid to verdicts: values, paired differences, cost, mechanism, curves.

    comparison = compare_runs(plan, records, root)

Notable: a difference is always one of runs with the same seed, evaluated on the same images; where one of the two is
missing, so is the pair. What could not be measured is None and said in the notes; nothing is filled in.

Letters: n seeds, B draws, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..evaluation.bootstrap import image_weights
from ..evaluation.ground_truth import GroundTruth, as_ground_truth
from ..evaluation.significance import Paired, judge
from .arms import METRICS, arm_result
from .cells import TIDE, Cell, first, measure, read_cell
from .remarks import facts, say_what_is_missing
from .store import BASE
from .structures import BASELINE, ArmResult, Comparison, Difference, Plan, RunRecord

ERRORS = ("oLRP", *(f"d{name}" for name in TIDE))  #: less is better
PICTURES = 12


def compare_runs(plan: Plan, records: Sequence[RunRecord], root: Path, draws: int = 1000, seed: int = 0) -> Comparison:
    """Judge every arm of the plan by its finished runs.

    Args:
        records: one for each cell that finished or failed. root: what their folders are relative to.
        draws: of the bootstrap over images. seed: of those draws.

    Raises:
        ValueError: two finished records of one cell, or an arm that the plan does not have.
    """
    root, notes = Path(root), []
    by_arm = _cells_by_arm(plan, records, root)
    cells = [cell for own in by_arm.values() for cell in own.values()]
    truth = _measure_all(plan, cells, draws, seed, notes)
    results = [arm_result(arm, by_arm, records, plan) for arm in plan.arms]
    _judge_all(results, by_arm)
    say_what_is_missing(notes, plan, results, by_arm, truth)
    return Comparison(
        title=_title(plan.config),
        config=plan.config,
        arms=results,
        seeds=list(plan.seeds),
        facts=facts(plan, cells, truth, draws),
        notes=notes,
        group_rule=first((cell.evaluation.get("groups") or {}).get("rule") for cell in cells) or "",
        draws=draws,
        pictures=_pictures(results, by_arm, truth),
    )


def _title(config: str) -> str:
    """After the config; a run's folder, or the copy of a config that a comparison keeps, has no name worth showing."""
    path = Path(config)
    return "Remedies compared" if path.is_dir() or path.name == BASE else f"Remedies on {path.stem}"


def _cells_by_arm(plan: Plan, records: Sequence[RunRecord], root: Path) -> dict[str, dict[int, Cell]]:
    """{arm: {seed: its finished cell}}, in the order of the plan."""
    found: dict[str, dict[int, Cell]] = {arm.name: {} for arm in plan.arms}
    for record in records:
        if record.arm not in found:
            raise ValueError(f"{record.folder} is a run of arm {record.arm!r}; the plan has {', '.join(found)}")
        if record.status == "finished":
            if record.seed in found[record.arm]:
                raise ValueError(f"arm {record.arm!r} has seed {record.seed} twice; the second is {record.folder}")
            found[record.arm][record.seed] = read_cell(record, root)
    return {name: dict(sorted(cells.items())) for name, cells in found.items()}


def _measure_all(plan: Plan, cells: Sequence[Cell], draws: int, seed: int, notes: list[str]) -> GroundTruth | None:
    """Fill in what the cells' detections say; the ground truth that all of them share, None if it cannot be had."""
    with_detections = [cell for cell in cells if cell.detections.is_file()]
    if not with_detections:
        return None
    try:
        truth = _ground_truth(plan.split, with_detections[0])
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        notes.append(f"The images evaluated on cannot be read, so that only seeds are taken for noise: {error}")
        return None
    groups, weights = _groups(cells, truth), image_weights(len(truth), draws, seed)
    for cell in with_detections:
        try:
            measured = measure(cell.detections, truth, weights, groups)
        except (OSError, ValueError) as error:
            notes.append(f"The detections of {cell.name} cannot be used: {error}")
            continue
        said, found = cell.record.metrics.get("AP"), measured.values["AP"]
        if said is not None and found is not None and abs(said - found) > 1e-6:
            notes.append(
                f"The detections of {cell.name} give an AP of {100 * found:.2f} where its evaluation says "
                f"{100 * said:.2f}, so they are of other weights or limits and are left out"
            )
            continue
        cell.measured = measured
    return truth


def _ground_truth(split: str, cell: Cell) -> GroundTruth:
    from ..config import instantiate, load_config

    cfg = load_config(cell.folder / "config.yaml")
    if cfg.get("data") is None or cfg.data.get(split) is None:
        raise ValueError(f"{cell.folder / 'config.yaml'} has no data.{split}")
    return as_ground_truth(instantiate(cfg.data[split]))


def _groups(cells: Sequence[Cell], truth: GroundTruth) -> dict[str, list[int]] | None:
    """Labels of the rare, common and frequent classes, as the runs' own evaluation has them."""
    rows = first(cell.record.per_class for cell in cells)
    if not rows or not any(row.get("group") for row in rows):
        return None
    group = {row["name"]: row.get("group") for row in rows}
    names = ("rare", "common", "frequent")
    return {name: [k for k, label in enumerate(truth.class_names) if group.get(label) == name] for name in names}


def _judge_all(results: Sequence[ArmResult], by_arm: dict[str, dict[int, Cell]]) -> None:
    """Fill in the differences of every arm but the baseline, all arms of a metric judged together."""
    pairs: dict[str, dict[str, Paired]] = {}
    for result in results:
        if result.arm.name != BASELINE:
            for metric in METRICS:
                pair = _pair(metric, by_arm[result.arm.name], by_arm.get(result.arm.compared_with, {}))
                if pair is not None:
                    pairs.setdefault(metric, {})[result.arm.name] = pair
    found: dict[str, dict[str, Difference]] = judge(pairs)
    for result in results:
        for metric, arms in found.items():
            if result.arm.name in arms:
                result.differences[metric] = arms[result.arm.name]


def _pair(metric: str, mine: dict[int, Cell], theirs: dict[int, Cell]) -> Paired | None:
    """Over the seeds of which both finished and have the metric; with draws if all of them have."""
    both = [(mine[s], theirs[s]) for s in mine if s in theirs]
    both = [(a, b) for a, b in both if a.value(metric) is not None and b.value(metric) is not None]
    if not both:
        return None
    differences = [a.value(metric) - b.value(metric) for a, b in both]
    measured = [(a.measured, b.measured) for a, b in both]
    if any(a is None or b is None or metric not in a.draws or metric not in b.draws for a, b in measured):
        return Paired(differences, lower_is_better=metric in ERRORS)
    draws = np.stack([a.draws[metric] - b.draws[metric] for a, b in measured])
    return Paired(differences, draws, measured[0][0].images[metric], metric in ERRORS)


def _pictures(
    results: Sequence[ArmResult], by_arm: dict[str, dict[int, Cell]], truth: GroundTruth | None
) -> list[tuple[int, str, str]]:
    """Images on which an arm and the one it is compared with differ most in F1 (see `f1_of_images`), arm after arm.

    Of the first seed that both have; larger differences first, of equal ones the image with more objects, then the one
    of the lower id. Controls have none, and neither has an image on which both are alike.
    """
    chosen, arms = [], [one.arm for one in results if one.arm.name != BASELINE and not one.arm.control_of]
    objects = np.bincount(truth.image[~truth.crowd], minlength=len(truth)) if truth is not None else None
    for arm in arms:
        mine, theirs = by_arm[arm.name], by_arm.get(arm.compared_with, {})
        both = [(mine[s].measured, theirs[s].measured) for s in mine if s in theirs]
        pair = first((a, b) for a, b in both if a is not None and b is not None)
        if pair is not None:
            apart = abs(pair[0].f1 - pair[1].f1)
            order = np.lexsort((truth.image_ids, -objects, -apart))[: max(2, PICTURES // len(arms))]
            chosen += [(int(truth.image_ids[i]), arm.compared_with, arm.name) for i in order if apart[i] > 0]
    return chosen
