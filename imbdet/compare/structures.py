"""What a comparison is made of, from the plan to the verdicts; plain data that JSON can hold.

An arm is one config (the baseline with some remedies and overrides); a cell is one arm with one seed. Metrics are in
0..1 as in `evaluation.Result`, and None where they are not defined.
"""

from dataclasses import dataclass, field
from typing import Any

from ..evaluation.significance import Difference
from ..runs import DETECTIONS as DETECTIONS

BASELINE = "baseline"  #: name of the arm that all others are compared with
RESULTS = "results.jsonl"
PLAN = "plan.json"


@dataclass(frozen=True)
class Arm:
    """One config of the grid.

    Attributes:
        name: "baseline", "focal_loss", "ohem+repeat_factor_sampling"; also its folder, with "/" and spaces replaced.
        remedies, overrides: what is put on the base config.
        control_of: name of the arm that this one is a control of ("" if it is none): the baseline with its loss
            weight matched, or with the iterations that a remedy's pre-training costs.
        compared_with: the arm it is compared with, BASELINE for most.
    """

    name: str
    remedies: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    control_of: str = ""
    compared_with: str = BASELINE


@dataclass(frozen=True)
class Plan:
    """The grid. config: name or path of the base config. budget: "iterations" or "time". split: evaluated on."""

    config: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    budget: str = "iterations"
    split: str = "val"


@dataclass
class RunRecord:
    """One line of results.jsonl: a finished or failed cell.

    Attributes:
        folder: run folder, relative to the comparison's folder where it lies inside.
        status: "finished" or "failed"; reason: of a failure, one line.
        metrics: as `Result.to_dict()` has them at top level: AP AP50 AP75 AP90 APs APm APl APr APc APf ...
        per_class: rows of name, AP, train_boxes, group, ... as `Result.per_class`.
        cost: {"iterations", "seconds", "step_seconds" (median), "peak_memory_mib", "parameters"}.
        pins: what has to be equal side by side: data hashes of the splits, evaluator, threads, versions, budget.
    """

    arm: str
    seed: int
    folder: str
    status: str
    reason: str = ""
    remedies: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    metrics: dict[str, float | None] = field(default_factory=dict)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float | None] = field(default_factory=dict)
    pins: dict[str, Any] = field(default_factory=dict)


@dataclass
class ArmResult:
    """All that is known of one arm.

    Attributes:
        arm: the arm. seeds: those that finished. failures: [(seed, reason)].
        values: {metric: [value of each finished seed]}; means and deviations: {metric: number or None}. Metrics are
            AP AP50 AP75 AP90 APs APm APl APr APc APf oLRP and TIDE's dCls dLoc dBoth dDupe dBkg dMiss.
        differences: {metric: Difference}; {} for the baseline and for an arm without finished seeds.
        cost: {"step_seconds", "step_ratio" (to the baseline's), "peak_memory_mib", "parameters", "seconds",
            "frequent_loss" (APf of the baseline minus APf)}; None where unknown.
        mechanism: [{"tag", "baseline", "arm"}]: meters of training and validation that tell what the arm changed, means
            over seeds of the last report.
        per_class: [{"name", "train_boxes", "group", "AP" (mean over seeds), "sd", "difference"}].
        curves: {tag: {"iterations": [...], "mean": [...], "low": [...], "high": [...]}} over the seeds (min and max).
    """

    arm: Arm
    seeds: list[int] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    means: dict[str, float | None] = field(default_factory=dict)
    deviations: dict[str, float | None] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)
    cost: dict[str, float | None] = field(default_factory=dict)
    mechanism: list[dict[str, Any]] = field(default_factory=list)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)


@dataclass
class Comparison:
    """What the reports show.

    Attributes:
        title, config: of the base. arms: the baseline first. seeds: all that were asked for.
        facts: [(name, value)] for the head of the page: date, command, images, iterations, evaluator, versions.
        notes: what a reader must know (cells that failed, arms with fewer seeds, a rule that was applied).
        group_rule: how rare, common and frequent were told apart. draws: of the bootstrap.
        pictures: [(image id, arm a, arm b)], the images on which two arms differ most, for the page of pictures.
    """

    title: str
    config: str
    arms: list[ArmResult]
    seeds: list[int]
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    group_rule: str = ""
    draws: int = 1000
    pictures: list[tuple[int, str, str]] = field(default_factory=list)
