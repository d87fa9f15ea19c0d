"""What a comparison is made of, from the plan to the verdicts, and the config of each of its runs.

An arm is one config (the baseline with some remedies and overrides); a cell is one arm with one seed. Metrics are in
0..1 as in `evaluation.Result`, and None where they are not defined. All but the configs is plain data that JSON holds.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from omegaconf import DictConfig, OmegaConf, open_dict

from ..config import LazyCall, apply_overrides, changed_paths, load_config
from ..config.moved import with_present_names
from ..config.yaml12 import parse
from ..data.samplers import bootstrapped
from ..engine.settings import read_settings
from ..evaluation.significance import Difference

BASELINE = "baseline"  #: name of the arm that all others are compared with
ITERATIONS = "train.max_iter"
Cell = tuple[str, int]  #: arm, seed


@dataclass(frozen=True)
class Arm:
    """One config of the grid.

    Attributes:
        name: "baseline", "focal_loss", "ohem+repeat_factor_sampling"; also its folder, with "/" and spaces replaced.
        remedies, overrides: what is put on the base config.
        control_of: name of the arm that this one is a control of ("" if it is none): the baseline with its loss
            weight matched, or with the iterations that a remedy's pre-training costs; or an arm with a config that
            says `control = True`.
        compared_with: the arm it is compared with, BASELINE for most.
        tuned: those of its overrides that its tuning has chosen.
    """

    name: str
    remedies: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    control_of: str = ""
    compared_with: str = BASELINE
    tuned: tuple[str, ...] = ()

    @property
    def is_changed_baseline(self) -> bool:
        """Whether it is a control that is the baseline with other overrides, which the comparison has added itself."""
        return bool(self.control_of) and not self.remedies


@dataclass(frozen=True)
class Plan:
    """The grid. config: name or path of the base config. budget: "iterations" or "time". split: evaluated on.
    primary: the metric that verdicts are about. sd: expected standard deviation of a run about its arm and seed, in
    that metric, from the runs at `pilot` or a guess. tune: "KEY=V1,V2" each, or "auto"; see `tune`.
    start: config or checkpoint that all arms begin from; start_keeps: patterns of its entries. draw_data: whether
    seeds draw data, too; resample_train: whether they draw training images with replacement.
    """

    config: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    budget: Literal["iterations", "time"] = "iterations"
    split: Literal["val", "test"] = "val"
    primary: str = "AP"
    sd: float = 0.02
    pilot: str = ""
    tune: tuple[str, ...] = ()
    start: str = ""
    start_keeps: tuple[str, ...] = ("backbone.*", "neck.*", "rpn.*")
    draw_data: bool = False
    resample_train: bool = False

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "Plan":
        """Return the plan of `dataclasses.asdict`; unknown keys are passed over. Raises ValueError for what is no
        plan.
        """
        plan = msgspec.convert(with_present_names(content), cls)
        names = [arm.name for arm in plan.arms]
        tried = [arm.control_of for arm in plan.arms]  # the tries of a tuning name their arms there
        if BASELINE not in (*names, *tried) or len(set(names)) < len(names) or not all(map(folder_name, names)):
            raise ValueError(f"its arms must have names of their own, one of them {BASELINE!r}, got {names}")
        if min(plan.seeds, default=0) < 0:
            raise ValueError(f"seeds are numbers of 0 or more, got {list(plan.seeds)}")
        return plan

    def arm(self, name: str) -> Arm:
        """Raise ValueError if there is no such arm."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise ValueError(f"the plan has no arm {name!r}; it has {', '.join(arm.name for arm in self.arms)}")

    def tuned_keys(self) -> list[str]:
        """Return the config keys in which arms may differ because they were tuned."""
        return list(dict.fromkeys(word.partition("=")[0] for arm in self.arms for word in arm.tuned))

    def cells(self) -> list[Cell]:
        """Return all runs, seed after seed, so that an unfinished grid compares all arms on the seeds it has."""
        return [(arm.name, seed) for seed in self.seeds for arm in self.arms]


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        config, overrides: the base. remedies: one text an arm, "A" or "A+B". every, imbalance: all remedies that fit,
        of one imbalance or of all. threads: of a run, where the config leaves it to torch. controls: whether to add
        control arms. primary: the metric that verdicts are about; "" goes by the imbalance of the remedies.
        pilot: a results.jsonl or runs.csv of an earlier grid, for the noise to be expected.
        tune: "KEY=V1,V2" each, or "auto": every arm gets the same number of tries.
        start, start_keeps, draw_data, resample_train: as in Plan.
    """

    config: str
    remedies: tuple[str, ...] = ()
    every: bool = False
    imbalance: str = ""
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ()
    budget: str = "iterations"
    split: str = "val"
    threads: int = 1
    controls: bool = True
    primary: str = ""
    pilot: str = ""
    tune: tuple[str, ...] = ()
    start: str = ""
    start_keeps: tuple[str, ...] = ("backbone.*", "neck.*", "rpn.*")
    draw_data: bool = False
    resample_train: bool = False


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

    @property
    def machine(self) -> str:
        """What computed it: one seed does not give the same run on two kinds of machine. "" where unknown."""
        return str(self.pins.get("gpu") or self.pins.get("processor") or "")


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
        curves: {tag: {"iterations": [...], "mean": [...], "low": [...], "high": [...]}}: the mean over seeds, its 95 %
            interval, which one seed does not have.
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
        primary: the metric that verdicts are about; all others are exploratory.
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
    primary: str = "AP"


def folder_name(arm: str) -> str:
    """Return the folder of an arm: its name without what a path or a shell would take apart.

    Example:
        >>> folder_name("baseline (200 more iterations)")
        'baseline_200_more_iterations'
    """
    kept = "".join(letter if letter.isalnum() or letter in "+-_.=" else " " for letter in arm)
    return "_".join(kept.split())


def run_folder(arm: str, seed: int) -> str:
    """Return the run folder of a cell, relative to the comparison's folder."""
    return f"runs/{folder_name(arm)}/seed_{seed}"


class Configs:
    """The configs of a plan's base and arms, each loaded once; they are to be read, not changed."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.base = base_config(plan)
        self._arms: dict[tuple, DictConfig] = {}

    def of(self, arm: Arm) -> DictConfig:
        """Raise ValueError as `arm_config` does."""
        key = (arm.remedies, arm.overrides)
        if key == ((), ()):
            return self.base
        if key not in self._arms:
            self._arms[key] = arm_config(self.plan, arm)
        return self._arms[key]


def base_config(plan: Plan) -> DictConfig:
    """Return the config of the baseline: what every arm is a change of.

    A plan comes from a file, which anyone may have written: Python code of its own is run only if the user trusts it,
    as `make_plan` does with what a command names.
    """
    return load_config(plan.config, (), plan.overrides, code=False)


def arm_config(plan: Plan, arm: Arm) -> DictConfig:
    """Return the base config with the arm's remedies, then everybody's overrides, then the arm's own.

    Raises:
        ValueError: a remedy does not fit the base config, or collides with another, or is code; by name.
    """
    cfg = load_config(plan.config, arm.remedies, plan.overrides, code=False)
    for word in arm.overrides:
        key, _, value = word.partition("=")
        if key == ITERATIONS:  # may be a call, such as epochs_to_iterations(...), which no number would replace
            cfg.train.max_iter = parse(value)
        else:
            apply_overrides(cfg, [word])
    return cfg


def cell_config(plan: Plan, arm: Arm, seed: int, root: Path) -> DictConfig:
    """Return the arm's config with the seed and folder of one run, without the periodic checkpoints that nobody reads
    here.
    """
    cfg = arm_config(plan, arm)
    with open_dict(cfg):
        cfg.train.seed = seed
        if plan.draw_data:
            cfg.data.seed = seed
        if plan.resample_train:  # around the records, so that all that counts them follows the draw
            cfg.data.train = LazyCall(bootstrapped)(records=cfg.data.train, seed=seed)
        cfg.train.output_dir = str(Path(root) / run_folder(arm.name, seed))
        if not any(word.startswith("train.checkpointer.max_to_keep=") for word in plan.overrides):
            cfg.train.checkpointer = {**cfg.train.get("checkpointer", {}), "max_to_keep": 0}
    return cfg


def seeds_draw(plan: Plan) -> str:
    """Return what the seeds draw besides weights and order, "" for nothing."""
    if plan.resample_train:
        return "training images with replacement (a bootstrap of those that there are)"
    return "all data anew" if plan.draw_data else ""


def iterations_of(cfg: DictConfig) -> int:
    """Return `train.max_iter` as a number."""
    return read_settings(cfg).max_iter


def arm_iterations(arm: Arm, base: int) -> int:
    """Return the iterations of an arm, where the base config has `base`; only its overrides may differ (see budget)."""
    own = [int(word.partition("=")[2]) for word in arm.overrides if word.startswith(f"{ITERATIONS}=")]
    return own[-1] if own else base


def changes_of(base: DictConfig, cfg: DictConfig) -> list[str]:
    """Return the keys in which an arm's config differs from the base, without the list of remedies."""
    return [path for path in changed_paths(base, cfg) if path != "remedies"]


def node_at(cfg: DictConfig, path: str) -> Any:
    """Return the unresolved value at a key as plain containers, None if there is none."""
    node: Any = OmegaConf.to_container(cfg, resolve=False)
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node
