"""From the runs of a grid to verdicts: values, paired differences, cost, mechanism, curves, notes.

    comparison = compare_runs(plan, records, root)

A difference is always one of runs with the same seed, evaluated on the same images; where one of the two is missing, so
is the pair. What could not be measured is None and said in the notes; nothing is filled in.

Letters: n seeds, B draws, N images.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.metrics import COMPARED, LOWER_IS_BETTER
from ..evaluation.significance import Sample, judge_samples
from .curves import curves_of, mechanism
from .kept import DRAWS, SEED, Finished, Runs, Scene, Truths, keep_run, machines_of
from .notes import facts_of, first, notes_of, power_of
from .probe import tuning_notes
from .results import BASE
from .structures import BASELINE, Arm, ArmResult, Comparison, Plan, RunRecord

PICTURES = 12  #: images on which two arms differ most

#: what is judged where the primary metric is not defined, in this order; then AP
INSTEAD = {"AP90": ("AP75",)}


def compare_runs(
    plan: Plan, records: Sequence[RunRecord], root: Path, draws: int = DRAWS, seed: int = SEED
) -> Comparison:
    """Judge every arm of the plan by its finished runs.

    Args:
        records: one for each cell that finished or failed. root: what their folders are relative to.
        draws: of the bootstrap over images. seed: of those draws.

    Raises:
        ValueError: two finished records of one cell, or an arm that the plan does not have.
    """
    root, notes = Path(root), []
    by_arm = _runs_by_arm(plan, records)
    cells = [cell for own in by_arm.values() for cell in own.values()]
    truth = _measure_all(cells, root, Truths(plan.split, draws, seed), notes)
    curves = curves_of(by_arm)
    results = [_arm_result(arm, by_arm, records, plan, curves[arm.name]) for arm in plan.arms]
    primary, samples = _judge_all(plan, results, by_arm, notes)
    notes += [*notes_of(plan, results, by_arm, truth), *tuning_notes(plan, root)]
    return Comparison(
        title=_title(plan.config),
        config=plan.config,
        arms=results,
        seeds=list(plan.seeds),
        facts=[*facts_of(plan, cells, truth, draws), *power_of(samples[primary], len(plan.seeds))],
        primary=primary,
        notes=notes,
        group_rule=first((cell.fact("evaluation").get("groups") or {}).get("rule") for cell in cells) or "",
        draws=draws,
        pictures=_pictures(results, by_arm, truth),
    )


def _title(config: str) -> str:
    """After the config; a run's folder, or the copy of a config that a comparison keeps, has no name worth showing."""
    path = Path(config)
    return "Remedies compared" if path.is_dir() or path.name == BASE else f"Remedies on {path.stem}"


def _runs_by_arm(plan: Plan, records: Sequence[RunRecord]) -> dict[str, dict[int, Finished]]:
    """{arm: {seed: its finished cell}}, in the order of the plan."""
    found: dict[str, dict[int, Finished]] = {arm.name: {} for arm in plan.arms}
    for record in records:
        if record.arm not in found:
            raise ValueError(f"{record.folder} is a run of arm {record.arm!r}; the plan has {', '.join(found)}")
        if record.status == "finished":
            if record.seed in found[record.arm]:
                raise ValueError(f"arm {record.arm!r} has seed {record.seed} twice; the second is {record.folder}")
            found[record.arm][record.seed] = Finished(record)
    return {name: dict(sorted(cells.items())) for name, cells in found.items()}


def _measure_all(cells: Sequence[Finished], root: Path, truths: Truths, notes: list[str]) -> Scene | None:
    """Fill in what is kept of the cells; the images that they were evaluated on, None if no detections tell."""
    unusable: dict[str, list[str]] = {}
    for cell in cells:
        cell.kept, why = keep_run(root, cell.record, truths)
        if why:
            unusable.setdefault(why, []).append(str(cell))
    for why, of in unusable.items():
        some = of[0] if len(of) == 1 else f"{len(of)} runs"
        notes.append(f"The detections of {some} cannot be used, so only their noise of seeds is known: {why}")
    return first(cell.kept.scene for cell in cells)


def _judge_all(
    plan: Plan, results: Sequence[ArmResult], by_arm: Runs, notes: list[str]
) -> tuple[str, dict[str, Sample]]:
    """Fill in the differences of every arm but the baseline, all arms of a metric judged together.

    Returns:
        The primary metric, or the one that stands in where the baseline has none; what all runs say of each metric.
    """
    against = {result.arm.name: result.arm.compared_with for result in results if result.arm.name != BASELINE}
    controls = frozenset(result.arm.name for result in results if result.arm.control_of)
    samples = {metric: _sample(metric, against, controls, by_arm) for metric in COMPARED}
    for sample in samples.values():  # images that each seed draws anew are part of what varies between seeds
        sample.shared_images = not plan.draw_data
    primary = next((m for m in (plan.primary, *INSTEAD.get(plan.primary, ())) if samples[m].values.get(BASELINE)), "AP")
    if primary != plan.primary:
        notes.append(f"The primary metric is {primary}: {plan.primary} is not defined on these images")
    found = judge_samples(samples, primary)
    for result in results:
        differences = {metric: arms.get(result.arm.name) for metric, arms in found.items()}
        result.differences.update({metric: one for metric, one in differences.items() if one is not None})
    return primary, samples


def _sample(metric: str, against: dict[str, str], controls: frozenset[str], by_arm: Runs) -> Sample:
    """What all runs say of one metric; those that another kind of machine computed than the rest of their seed do not
    count.
    """
    machines, images = machines_of(by_arm), None
    sample = Sample({}, against, {}, 2, metric in LOWER_IS_BETTER, controls)
    for arm, every in by_arm.items():
        runs = {seed: run for seed, run in every.items() if run.record.machine in ("", machines[seed])}
        values = {seed: run.value(metric) for seed, run in runs.items()}
        sample.values[arm] = {seed: value for seed, value in values.items() if value is not None}
        measured = {seed: run.measured for seed, run in runs.items() if run.measured and metric in run.measured.draws}
        sample.draws[arm] = {seed: one.draws[metric] for seed, one in measured.items()}
        images = next((one.images[metric] for one in measured.values()), images)
    return sample if images is None else replace(sample, images=images)


def _pictures(results: Sequence[ArmResult], by_arm: Runs, truth: Scene | None) -> list[tuple[int, str, str]]:
    """Images on which an arm and the one it is compared with differ most in F1 (see `f1_of_images`), arm after arm.

    Of the first seed that both have; larger differences first, of equal ones the image with more objects, then the one
    of the lower id. Controls have none, and neither has an image on which both are alike.
    """
    chosen, arms = [], [one.arm for one in results if one.arm.name != BASELINE and not one.arm.control_of]
    for arm in arms:
        mine, theirs = by_arm[arm.name], by_arm.get(arm.compared_with, {})
        both = [(mine[s].measured, theirs[s].measured) for s in mine if s in theirs]
        pair = first((a, b) for a, b in both if a is not None and b is not None)
        if pair is not None:
            apart = abs(pair[0].f1 - pair[1].f1)
            order = np.lexsort((truth.image_ids, -truth.objects, -apart))[: max(2, PICTURES // len(arms))]
            chosen += [(int(truth.image_ids[i]), arm.compared_with, arm.name) for i in order if apart[i] > 0]
    return chosen


def _arm_result(arm: Arm, by_arm: Runs, records: Sequence[RunRecord], plan: Plan, curves: dict) -> ArmResult:
    """All of an arm but its differences."""
    cells, baseline = by_arm[arm.name], by_arm.get(BASELINE, {})
    values = {metric: [cell.value(metric) for cell in cells.values()] for metric in COMPARED}
    defined = {metric: [value for value in row if value is not None] for metric, row in values.items()}
    failed = [(r.seed, r.reason) for r in records if r.arm == arm.name and r.status != "finished"]
    other = by_arm.get(arm.compared_with, {})
    # A control is there to be held against the meters of the remedy that it controls.
    remedies = next((one.remedies for one in plan.arms if one.name == arm.control_of), ()) or arm.remedies
    return ArmResult(
        arm=arm,
        seeds=list(cells),
        failures=sorted(failed),
        values=values,
        means={metric: statistics.fmean(row) if row else None for metric, row in defined.items()},
        deviations={metric: statistics.stdev(row) if len(row) > 1 else None for metric, row in defined.items()},
        cost=_cost(cells, baseline),
        mechanism=[] if arm.name == BASELINE else mechanism(list(cells.values()), list(other.values()), remedies),
        per_class=_per_class(cells, other if arm.name != BASELINE else {}),
        curves=curves,
    )


def _cost(cells: Mapping[int, Finished], baseline: Mapping[int, Finished]) -> dict[str, float | None]:
    def of(some: Iterable[Finished], key: str) -> list[float]:
        return [cell.record.cost[key] for cell in some if cell.record.cost.get(key) is not None]

    def middle(some: Iterable[Finished], key: str) -> float | None:
        found = of(some, key)
        return statistics.median(found) if found else None

    step, base = middle(cells.values(), "step_seconds"), middle(baseline.values(), "step_seconds")
    frequent = [(baseline[s].value("APf"), cells[s].value("APf")) for s in cells if s in baseline]
    lost = [before - after for before, after in frequent if before is not None and after is not None]
    return {
        "step_seconds": step,
        "step_ratio": step / base if step and base else None,
        "peak_memory_mib": max(of(cells.values(), "peak_memory_mib"), default=None),
        "parameters": first(of(cells.values(), "parameters")),
        "seconds": middle(cells.values(), "seconds"),
        **({"adversary_steps": steps[0]} if any(steps := of(cells.values(), "adversary_steps")) else {}),
        "frequent_loss": statistics.fmean(lost) if lost else None,
    }


def _per_class(cells: Mapping[int, Finished], other: Mapping[int, Finished]) -> list[dict[str, Any]]:
    """A row per class in the order of the labels, with the mean paired difference in AP."""
    ap = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in cells.items()}
    theirs = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in other.items()}
    rows = []
    for row in first(cell.record.per_class for cell in cells.values()) or []:
        name = row["name"]
        values = [one[name] for one in ap.values() if one.get(name) is not None]
        pairs = [(ap[s].get(name), theirs[s].get(name)) for s in ap if s in theirs]
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        rows.append(
            {
                "name": name,
                "train_boxes": row.get("train_boxes"),
                "boxes": row.get("boxes"),
                "group": row.get("group"),
                "AP": statistics.fmean(values) if values else None,
                "sd": statistics.stdev(values) if len(values) > 1 else None,
                "difference": statistics.fmean(differences) if differences else None,
            }
        )
    return rows
