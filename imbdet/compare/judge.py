"""From the runs of a grid to verdicts: values, paired differences, cost, mechanism, curves, notes.

    comparison = compare_runs(plan, records, root)

A difference is always one of runs with the same seed, evaluated on the same images; where one of the two is missing, so
is the pair. What could not be measured is None and said in the notes; nothing is filled in.

Letters: n seeds, B draws, N images.
"""

import math
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..config.remedy import remedy_names
from ..evaluation.metrics import COMPARED, LOWER_IS_BETTER, TIDE_ERRORS
from ..evaluation.noise import detectable, residual_sd
from ..evaluation.resampled import Measured
from ..evaluation.significance import Sample, judge_samples
from .kept import CURVES, DRAWS, LAST_REPORTS, SEED, Kept, Scene, Truths, is_number, keep_run
from .results import BASE
from .structures import BASELINE, Arm, ArmResult, Comparison, Plan, RunRecord
from .tune import tuning_notes

PICTURES = 12  #: images on which two arms differ most
ENOUGH_SEEDS = 5  #: for a claim; with fewer a verdict is indicative
UNEVEN = 1.2  #: slowest to fastest step of one arm's seeds from which its times say more of the machine than of the arm
STILL_LEARNING = 0.02  #: AP that twice the iterations would add, above which arms differ in how fast they learn
UNEVEN_CLIPPING = 0.1  #: difference in the share of clipped steps that is worth a note
FEW_OBJECTS = 20  #: test objects of a class below which its own AP does not tell remedies apart
MOST_METERS = 12  #: that are listed
CLEAR = 0.1  #: change, relative to the larger of both, from which any other meter is worth a line

#: imbalance (folder of the remedy) -> the meters that show it; a criterion's own name may stand after the slash
SHOWN_BY = {
    "class_fg_bg": ("share/*background", "share/*foreground", "positives/*per_image", "loss/*cls"),
    "class_fg_fg": ("share/*rare", "share/*common", "share/*frequent"),
    "spatial_regression": ("iou/*after_mean", "iou/*after_below_0.5", "loss/*loc", "loss/*reg"),
    "spatial_iou": ("iou/*before_mean", "iou/*before_below_0.5", "iou/*after_mean", "positives/*per_image"),
    "spatial_location": ("positives/*per_image", "positives/*level_*", "iou/*before_mean"),
    "scale": ("positives/*level_*",),
    "objective": ("loss/*", "gradient_norm"),
}
_GENERAL = ("share/*", "positives/*", "iou/*", "loss/*", "balance/*", "gradient_norm")
_MACHINE = ("iteration", "split", "lr", "time/*", "memory/*", "AP/*", "AR/*", "AP_per_class/*")  # no mechanism

#: what is judged where the primary metric is not defined, in this order; then AP
INSTEAD = {"AP90": ("AP75",)}


@dataclass
class Finished:
    """A finished run of a comparison, with what is kept of it."""

    record: RunRecord
    kept: Kept = field(default_factory=Kept)

    @property
    def measured(self) -> Measured | None:
        return self.kept.measured

    def fact(self, name: str) -> dict[str, Any]:
        """ "environment" or "evaluation", {} where unknown."""
        return self.kept.facts.get(name) or {}

    @property
    def machine(self) -> str:
        """What computes: one seed does not give the same run on two kinds of it. "" where unknown."""
        return str(self.record.pins.get("gpu") or self.record.pins.get("processor") or "")

    def __str__(self) -> str:
        return f"{self.record.arm}, seed {self.record.seed}"

    def value(self, metric: str) -> float | None:
        """A metric as the run's own evaluation has it, else as its detections give it; None where it is undefined."""
        value = self.record.metrics.get(metric)
        if metric not in self.record.metrics and self.measured is not None:
            value = self.measured.values.get(metric)
        return None if value is None or value == -1 or not np.isfinite(value) else float(value)


Runs = Mapping[str, Mapping[int, Finished]]  #: {arm: {seed: its run}}


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
    results = [_arm_result(arm, by_arm, records, plan) for arm in plan.arms]
    primary, samples = _judge_all(plan, results, by_arm, notes)
    notes += [*_notes(plan, results, by_arm, truth), *tuning_notes(plan, root)]
    return Comparison(
        title=_title(plan.config),
        config=plan.config,
        arms=results,
        seeds=list(plan.seeds),
        facts=[*_facts(plan, cells, truth, draws), *_power(samples[primary], len(plan.seeds))],
        primary=primary,
        notes=notes,
        group_rule=_first((cell.fact("evaluation").get("groups") or {}).get("rule") for cell in cells) or "",
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
    return _first(cell.kept.scene for cell in cells)


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
        runs = {seed: run for seed, run in every.items() if run.machine in ("", machines[seed])}
        values = {seed: run.value(metric) for seed, run in runs.items()}
        sample.values[arm] = {seed: value for seed, value in values.items() if value is not None}
        measured = {seed: run.measured for seed, run in runs.items() if run.measured and metric in run.measured.draws}
        sample.draws[arm] = {seed: one.draws[metric] for seed, one in measured.items()}
        images = next((one.images[metric] for one in measured.values()), images)
    return sample if images is None else replace(sample, images=images)


def machines_of(by_arm: Runs) -> dict[int, str]:
    """{seed: the kind of machine that computed it}: the baseline's where it is known, else the first."""
    found: dict[int, str] = {}
    for _, runs in sorted(by_arm.items(), key=lambda item: item[0] != BASELINE):
        for seed, run in runs.items():
            found[seed] = found.get(seed) or run.machine
    return found


def _power(sample: Sample, seeds: int) -> list[tuple[str, str]]:
    """What a grid of this size finds, by the noise that it has measured."""
    remedies = [arm for arm in sample.against if arm not in sample.controls]
    sd = residual_sd(sample.matrix())
    if sd is None or seeds < 2 or not remedies:
        return []
    images = np.diag(sample.image_covariance(remedies))
    image_sd = float(np.sqrt(np.nanmedian(images))) if np.isfinite(images).any() else 0.0
    found = detectable(seeds, len(remedies), sd, image_sd)
    text = f"a difference of {100 * found:.1f} points with 80 % power; sd of a run {100 * sd:.2f}"
    return [("can find", text + (f", of the choice of images {100 * image_sd:.2f}" if image_sd else ""))]


def _pictures(results: Sequence[ArmResult], by_arm: Runs, truth: Scene | None) -> list[tuple[int, str, str]]:
    """Images on which an arm and the one it is compared with differ most in F1 (see `f1_of_images`), arm after arm.

    Of the first seed that both have; larger differences first, of equal ones the image with more objects, then the one
    of the lower id. Controls have none, and neither has an image on which both are alike.
    """
    chosen, arms = [], [one.arm for one in results if one.arm.name != BASELINE and not one.arm.control_of]
    for arm in arms:
        mine, theirs = by_arm[arm.name], by_arm.get(arm.compared_with, {})
        both = [(mine[s].measured, theirs[s].measured) for s in mine if s in theirs]
        pair = _first((a, b) for a, b in both if a is not None and b is not None)
        if pair is not None:
            apart = abs(pair[0].f1 - pair[1].f1)
            order = np.lexsort((truth.image_ids, -truth.objects, -apart))[: max(2, PICTURES // len(arms))]
            chosen += [(int(truth.image_ids[i]), arm.compared_with, arm.name) for i in order if apart[i] > 0]
    return chosen


def _arm_result(arm: Arm, by_arm: Runs, records: Sequence[RunRecord], plan: Plan) -> ArmResult:
    """All of an arm but its differences."""
    cells, baseline = by_arm[arm.name], by_arm.get(BASELINE, {})
    values = {metric: [cell.value(metric) for cell in cells.values()] for metric in COMPARED}
    defined = {metric: [value for value in row if value is not None] for metric, row in values.items()}
    failed = [(r.seed, r.reason) for r in records if r.arm == arm.name and r.status != "finished"]
    other = by_arm.get(arm.compared_with, {})
    # A control is there to be held against the meters of the remedy that it controls.
    remedies = next((one.remedies for one in plan.arms if one.name == arm.control_of), arm.remedies)
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
        curves=curves(list(cells.values())),
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
        "parameters": _first(of(cells.values(), "parameters")),
        "seconds": middle(cells.values(), "seconds"),
        **({"adversary_steps": steps[0]} if any(steps := of(cells.values(), "adversary_steps")) else {}),
        "frequent_loss": statistics.fmean(lost) if lost else None,
    }


def _per_class(cells: Mapping[int, Finished], other: Mapping[int, Finished]) -> list[dict[str, Any]]:
    """A row per class in the order of the labels, with the mean paired difference in AP."""
    ap = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in cells.items()}
    theirs = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in other.items()}
    rows = []
    for row in _first(cell.record.per_class for cell in cells.values()) or []:
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


def curves(cells: Sequence[Finished]) -> dict[str, dict[str, list[float]]]:
    """Mean, lowest and highest value over the seeds, at the iterations at which every seed reported.

    A curve that no seed has is left out; so are seeds without it.
    """
    found = {}
    for name, (split, tag) in CURVES.items():
        series = [_series(cell, split, tag) for cell in cells]
        series = [one for one in series if one]
        iterations = sorted(set.intersection(*map(set, series))) if series else []
        if iterations:
            columns = [[one[i] for one in series] for i in iterations]
            ends = {"low": [min(column) for column in columns], "high": [max(column) for column in columns]}
            means = [statistics.fmean(column) for column in columns]
            found[name] = {"iterations": iterations, "mean": means, **ends}
    return found


def doubling_gain(curve: Mapping[str, Sequence[float]]) -> float | None:
    """How much AP a training of twice the length would add, by the curve of one: None if it is too short to tell.

    From a quarter to half of the iterations AP rises by d1, from half to all by d2. If what is left to gain falls as a
    power of the iterations, the next doubling adds d2 * d2 / d1. In a run whose rate falls to 0, half of the way is
    worse than a training of half the length, so this is an upper estimate.
    """
    iterations, mean = curve.get("iterations", ()), curve.get("mean", ())
    if len(iterations) < 3 or iterations[0] > iterations[-1] / 4:
        return None
    quarter, half, whole = np.interp([iterations[-1] / 4, iterations[-1] / 2, iterations[-1]], iterations, mean)
    d1, d2 = half - quarter, whole - half
    return float(d2 * min(d2 / d1, 1.0)) if d1 > 0 and d2 > 0 else float(max(d2, 0.0))


def mechanism(arm: Sequence[Finished], baseline: Sequence[Finished], remedies: Iterable[str]) -> list[dict[str, Any]]:
    """[{"tag", "baseline", "arm"}]: means over the seeds of the last reports; None where there is no such meter.

    First those of the imbalances of `remedies`, then the ones that only the arm has, then what else changed most.
    """
    mine, theirs = _last(arm), _last(baseline)
    if not mine:
        return []
    patterns = [pattern for imbalance in imbalances(remedies) for pattern in SHOWN_BY.get(imbalance, ())]
    listed = [tag for pattern in patterns for tag in sorted({*mine, *theirs}) if fnmatchcase(tag, pattern)]
    own = [tag for tag in mine if tag not in theirs and not _matches(tag, _MACHINE)]
    others = [tag for tag in mine if tag in theirs and _matches(tag, _GENERAL) and _changed(mine[tag], theirs[tag])]
    others.sort(key=lambda tag: -_relative(mine[tag], theirs[tag]))
    chosen = list(dict.fromkeys([*listed, *own, *others]))[:MOST_METERS]
    return [{"tag": tag, "baseline": _mean(theirs.get(tag)), "arm": _mean(mine.get(tag))} for tag in chosen]


def imbalances(remedies: Iterable[str]) -> list[str]:
    """The imbalance of each remedy that is one of ours: the folder that it lies in."""
    folders = {name.rsplit("/", 1)[-1]: name.rsplit("/", 1)[0] for name in remedy_names()}
    stems = (name.rsplit("/", 1)[-1].removesuffix(".py") for name in remedies)
    return list(dict.fromkeys(folders[stem] for stem in stems if stem in folders))


def _last(cells: Sequence[Finished]) -> dict[str, list[float]]:
    """{tag: [mean of the last reports of each seed]}, of training."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        reports = [line for line in cell.kept.reports if line.get("split") == "train"][-LAST_REPORTS:]
        tags = dict.fromkeys(tag for line in reports for tag in line)
        for tag in tags:
            values = [line[tag] for line in reports if is_number(line.get(tag))]
            if values and not _matches(tag, _MACHINE):
                found.setdefault(tag, []).append(statistics.fmean(values))
    return found


def _series(cell: Finished, split: str, tag: str) -> dict[int, float]:
    lines = (line for line in cell.kept.reports if line.get("split") == split and is_number(line.get(tag)))
    return {line["iteration"]: float(line[tag]) for line in lines}


def _changed(mine: list[float], theirs: list[float]) -> bool:
    """By a tenth, and by two standard errors of the difference where there are seeds to tell them from."""
    apart = abs(statistics.fmean(mine) - statistics.fmean(theirs))
    if _relative(mine, theirs) < CLEAR:
        return False
    if min(len(mine), len(theirs)) < 2:
        return True
    return apart > 2 * math.sqrt(sum(statistics.variance(one) / len(one) for one in (mine, theirs)))


def _relative(mine: list[float], theirs: list[float]) -> float:
    a, b = statistics.fmean(mine), statistics.fmean(theirs)
    return abs(a - b) / max(abs(a), abs(b), 1e-12)


def _mean(values: list[float] | None) -> float | None:
    return statistics.fmean(values) if values else None


def _matches(tag: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in patterns)


def _notes(plan: Plan, results: Sequence[ArmResult], by_arm: Runs, truth: Scene | None) -> list[str]:
    """What a reader must know besides the numbers."""
    notes = _notes_of_arms(plan, results, by_arm)
    curve = next((result.curves.get("AP/AP", {}) for result in results if result.arm.name == BASELINE), {})
    gain = doubling_gain(curve)
    if gain is not None:
        slow = ": this compares speed of learning; train longer" if gain > STILL_LEARNING else ""
        notes.append(
            f"By the baseline's curve on val, twice the iterations would add about {100 * gain:.1f} AP (an upper "
            f"estimate){slow}"
        )
    steps = {name: [c.record.cost.get("step_seconds") for c in cells.values()] for name, cells in by_arm.items()}
    spread = max((max(s) / min(s) for s in steps.values() if s and all(s)), default=1.0)
    if spread > UNEVEN:
        notes.append(
            f"Step times of one arm differ by a factor of up to {spread:.1f} between seeds: other work ran on the "
            "machine. python -m benchmarks --remedies measures the cost of a step side by side"
        )
    machines = machines_of(by_arm)
    if len(kinds := sorted({kind for kind in machines.values() if kind})) > 1:
        seeds = {kind: ", ".join(str(s) for s, one in machines.items() if one == kind) for kind in kinds}
        notes.append(
            "Seeds were computed by several kinds of machine, and runs are compared within a seed only: "
            + "; ".join(f"{kind}: {seeds[kind]}" for kind in kinds)
        )
    other = [c for cells in by_arm.values() for c in cells.values() if c.machine not in ("", machines[c.record.seed])]
    if other:
        notes.append(
            "One seed gives results that differ by 1 to 4 AP between processors, so these runs are not compared with "
            "the rest of their seed: " + "; ".join(f"{cell} ({cell.machine})" for cell in other)
        )
    without = [str(cell) for cells in by_arm.values() for cell in cells.values() if cell.measured is None]
    if without:
        shown = ", ".join(without[:4]) + (f" and {len(without) - 4} more" if len(without) > 4 else "")
        notes.append(
            f"No detections to resample for {shown}: intervals and p values that involve them hold the noise of seeds "
            "only, not of the choice of images, and are too narrow"
        )
    if any(name in result.differences for result in results for name in TIDE_ERRORS):
        notes.append(
            "Intervals of TIDE errors hold the noise of seeds only: these errors are not resampled over images"
        )

    counts = [len(r.seeds) for r in results if r.arm.name != BASELINE and r.seeds]
    if counts and min(counts) < ENOUGH_SEEDS:
        notes.append(f"With fewer than {ENOUGH_SEEDS} seeds a verdict is indicative")
    if truth is not None:
        boxes = truth.class_counts
        few = int(((boxes > 0) & (boxes < FEW_OBJECTS)).sum())
        if few:
            notes.append(
                f"{few} of {len(boxes)} classes have fewer than {FEW_OBJECTS} test objects: AP of such a class alone "
                "cannot tell remedies apart"
            )
    return notes


def _notes_of_arms(plan: Plan, results: Sequence[ArmResult], by_arm: Runs) -> list[str]:
    notes = []
    for result in results:
        arm = result.arm
        if len(result.seeds) < len(plan.seeds):
            notes.append(f"{arm.name} has {len(result.seeds)} of {len(plan.seeds)} seeds")
        shared = [s for s in result.seeds if s in by_arm.get(arm.compared_with, {})]
        if arm.name != BASELINE and result.seeds and len(shared) < len(result.seeds):
            notes.append(
                f"{arm.name} is compared with {arm.compared_with} on the {len(shared)} seeds that both have finished"
            )
    clipped = {arm: _mean([c.record.cost.get("clipped_share") or 0.0 for c in by_arm[arm].values()]) for arm in by_arm}
    for result in results:
        mine, theirs = clipped[result.arm.name], clipped.get(result.arm.compared_with)
        if mine is not None and theirs is not None and abs(mine - theirs) > UNEVEN_CLIPPING:
            notes.append(
                f"Gradients were clipped in {100 * mine:.0f} % of the steps of {result.arm.name} and in "
                f"{100 * theirs:.0f} % of {result.arm.compared_with}'s: clipping scales a step down, so the two differ "
                "in more than the remedy; train.clip_grad.max_norm=0 or a larger one takes that away"
            )
    if plan.budget == "iterations":
        longer = [name for result in results if (name := _trained_longer(result, by_arm))]
        if longer:
            notes.append(
                f"Trained longer than what they are compared with: {', '.join(longer)}. That alone may explain a gain: "
                "compare with a baseline trained for as long; `imbdet compare` adds one unless --no-controls is given"
            )
    return notes


def _trained_longer(result: ArmResult, by_arm: Runs) -> str:
    """The arm with both numbers of iterations if it has more than the arm it is compared with, else nothing."""
    own, other = (
        max((c.record.cost.get("iterations") or 0 for c in by_arm.get(name, {}).values()), default=0)
        for name in (result.arm.name, result.arm.compared_with)
    )
    is_remedy = result.arm.name != BASELINE and not result.arm.control_of
    return f"{result.arm.name} ({own:g} iterations, {other:g})" if is_remedy and own > other > 0 else ""


def _facts(plan: Plan, cells: Sequence[Finished], truth: Scene | None, draws: int) -> list[tuple[str, str]]:
    """What the numbers were made with; what no run says is left out."""
    evaluator = _first(cell.record.pins.get("evaluator") or cell.fact("evaluation").get("evaluator") for cell in cells)
    environment = _first(cell.fact("environment") for cell in cells) or {}
    packages = {"imbdet": environment.get("imbdet"), **environment.get("packages", {})}
    iterations = sorted({c.record.cost["iterations"] for c in cells if c.record.cost.get("iterations") is not None})
    images = len(truth) if truth is not None else _first(cell.fact("evaluation").get("images") for cell in cells)
    resampled = any(cell.measured is not None for cell in cells)
    found = {
        "date": date.today().isoformat(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "overrides": " ".join(plan.overrides),
        "budget": f"equal {plan.budget}",
        "iterations": " to ".join(f"{n:g}" for n in dict.fromkeys([*iterations[:1], *iterations[-1:]])),
        "images": f"{images} ({plan.split})" if images else "",
        "objects": str(int(truth.class_counts.sum())) if truth is not None else "",
        "bootstrap": f"{draws} draws of the images" if resampled else "none, as no run has detections",
        "evaluator": _describe(evaluator) if evaluator else "",
        "device": environment.get("gpu") or environment.get("device") or "",
        "processor": environment.get("processor") or "",
        "threads": str(environment.get("threads") or ""),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return [(name, value) for name, value in found.items() if value]


def _describe(evaluator: dict[str, Any]) -> str:
    limits = "/".join(map(str, evaluator.get("max_dets", ())))
    return f"{evaluator.get('name')} {evaluator.get('version')}" + (f", maxDets {limits}" if limits else "")


def _first(values: Iterable[Any]) -> Any:
    """The first that is not empty, or None."""
    return next((value for value in values if value), None)
