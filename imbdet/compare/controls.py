"""Control arms: the baseline with what a remedy brings along besides its idea.

Two things make a remedy look better than it is. Its loss is larger or smaller than the one it replaces, so that the
same detector is trained with another balance of its losses: the control is the baseline with that loss's weight set so
that its mean over the first iterations equals the remedy's. And it trains longer, for a phase of its own: the control
is the baseline with as many iterations.

What is notable here: a loss-scale control cannot be configured before the baseline and the remedy have both finished a
seed. Until then its arm has no overrides, and its runs wait.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from ..config.remedy import find_remedy
from ..engine.log import METRICS, read_metrics
from ..engine.meters import loss_tag
from .configs import ITERATIONS, Configs, changes_of, iterations_of, node_at
from .store import arm_of, run_folder
from .structures import BASELINE, Arm, Plan, RunRecord

CRITERIA = ("model.criterion", "model.rpn.criterion", "model.roi_heads.criterion")
LOSSES = ("classification", "regression")  #: the slots of a criterion that make its losses, in the order of `names`
BOTH = ("normalizer", "weighting")  #: what makes both losses larger or smaller
NAMES = ("loss_cls", "loss_box_reg")  #: of a criterion that says nothing else
WINDOW = 100  #: iterations over which losses are matched


class Unmatched(ValueError):
    """A loss scale that cannot be matched; the message says why."""


def with_controls(configs: Configs, arm: Arm, wanted: bool = True) -> list[Arm]:
    """An arm with its remedies only -> the same arm with what it needs, and its controls.

    Args:
        wanted: False leaves the controls out.

    Raises:
        ValueError: the arm does not fit the base config.
    """
    base, cfg, arms = configs.base, configs.of(arm), [arm]
    extra = extra_iterations(arm, base) if configs.plan.budget == "iterations" else 0
    if extra:
        name, longer = f"baseline ({extra} more iterations)", (f"{ITERATIONS}={iterations_of(base) + extra}",)
        arms[0] = replace(arm, overrides=longer, compared_with=name if wanted else BASELINE)
        arms.append(Arm(name, overrides=longer, control_of=arm.name))
    if scaled_losses(base, cfg):
        arms.append(Arm(f"baseline (loss scale of {arm.name})", control_of=arm.name))
    return arms if wanted else arms[:1]


def extra_iterations(arm: Arm, base: DictConfig) -> int:
    """How many more iterations than the base config the arm's remedies declare, together.

    A remedy's config file says `extra_iterations = 200`, or `def extra_iterations(cfg)` of the base config. A function
    that two of them share, as the adversaries share their phases, counts once.

    Raises:
        ValueError: it says anything else.
    """
    from ..config.files import run_file

    total, shared = 0, set()
    for name in arm.remedies:
        path = find_remedy(name).path
        declared = run_file(path).get("extra_iterations", 0)
        if callable(declared):
            place = (declared.__code__.co_filename, declared.__name__)
            if place in shared:
                continue
            shared.add(place)
        count = declared(base) if callable(declared) else declared
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{path}: extra_iterations is {count!r}; it must be a whole number of 0 or more")
        total += count
    return total


def scaled_losses(base: DictConfig, cfg: DictConfig) -> list[tuple[str, str, str]]:
    """The losses whose size an arm may have changed: (key of the weight, tag in the base, tag in the arm).

    Those whose slot it filled or whose weight it set; both, where it weighs regions or divides by another number of
    them. A criterion that the arm replaced as a whole has no counterpart in the base, and none of these.
    """
    changed, found = changes_of(base, cfg), []
    for criterion in CRITERIA:
        before, after = node_at(base, criterion), node_at(cfg, criterion)
        if not isinstance(before, dict) or not isinstance(after, dict):
            continue
        for number, loss in enumerate(LOSSES):
            scale = [f"{criterion}.{key}" for key in (loss, f"{loss}_weight", *BOTH)]
            if any(path == key or path.startswith(f"{key}.") for path in changed for key in scale):
                tags = [loss_tag((node.get("names") or NAMES)[number]) for node in (before, after)]
                found.append((f"{criterion}.{loss}_weight", *tags))
    return found


def is_pending(arm: Arm) -> bool:
    """A loss-scale control whose weight is not known yet."""
    return bool(arm.control_of) and not arm.overrides


def settle(plan: Plan, records: Sequence[RunRecord], root: Path) -> tuple[Plan, list[str], dict[str, str]]:
    """What can be known by now of the loss-scale controls.

    Returns:
        The plan with the weights of all that can be set; a line for each of them; {arm: reason} of those that never
        will be.
    """
    arms, lines, lost = list(plan.arms), [], {}
    for number, arm in enumerate(arms):
        if not is_pending(arm):
            continue
        seed, ended = _first_seed(plan, arm.control_of, records)
        if seed is None:
            if ended:
                lost[arm.name] = f"no seed has finished both of {BASELINE} and {arm.control_of}: no losses to match"
            continue
        try:
            overrides, words = matched_weights(plan, arm_of(plan, arm.control_of), seed, root)
        except Unmatched as error:
            lost[arm.name] = str(error)
            continue
        arms[number] = replace(arm, overrides=overrides)
        lines += [f"{arm.name}: {line}" for line in words]
    return replace(plan, arms=tuple(arms)), lines, lost


def _first_seed(plan: Plan, name: str, records: Sequence[RunRecord]) -> tuple[int | None, bool]:
    """The first seed that both the baseline and the arm `name` finish; None until it is known, and True if none does.

    In the order of the plan, so that the weight does not depend on which run happens to end first.
    """
    state = {(record.arm, record.seed): record.status for record in records}
    for seed in plan.seeds:
        both = state.get((BASELINE, seed)), state.get((name, seed))
        if both == ("finished", "finished"):
            return seed, False
        if "failed" not in both:
            return None, False
    return None, True


def matched_weights(plan: Plan, arm: Arm, seed: int, root: Path) -> tuple[tuple[str, ...], list[str]]:
    """The overrides that give the baseline the loss scale of `arm`, from both runs of one seed, and lines about them.

    Raises:
        Unmatched: a loss is missing in metrics.jsonl, or its mean is not positive.
    """
    configs, overrides, lines = Configs(plan), [], []
    for key, tag, own_tag in scaled_losses(configs.base, configs.of(arm)):
        before, upto = mean_loss(root / run_folder(BASELINE, seed), tag)
        after, _ = mean_loss(root / run_folder(arm.name, seed), own_tag)
        weight = node_at(configs.base, key)
        weight = (1.0 if weight is None else float(weight)) * after / before
        overrides.append(f"{key}={weight:.6g}")
        lines.append(f"{key}={weight:.6g} ({tag} {before:.4g}, {own_tag} {after:.4g}; mean of {upto} iterations)")
    return tuple(overrides), lines


def mean_loss(folder: Path, tag: str) -> tuple[float, int]:
    """Mean of a loss over the first WINDOW iterations of a run, and over how many it is.

    metrics.jsonl has means over windows of `train.log_period`; those that end within WINDOW count, at least the first.

    Raises:
        Unmatched: the run has no such loss, or its mean is not positive.
    """
    reports = [line for line in read_metrics(folder / METRICS) if line["split"] == "train"]
    total, last = 0.0, 0
    for line in reports:
        if last and line["iteration"] > WINDOW:
            break
        value = line.get(tag)
        if value is None:
            raise Unmatched(f"{folder / METRICS} has no {tag} at iteration {line['iteration']}")
        total, last = total + value * (line["iteration"] - last), line["iteration"]
    if not last:
        raise Unmatched(f"{folder / METRICS} has no report of the training")
    if total <= 0:
        raise Unmatched(f"the mean of {tag} in {folder} is {total / last:.4g}; only a positive loss can be matched")
    return total / last, last
