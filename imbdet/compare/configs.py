"""The configs of a grid: of the base, of an arm, of a cell; what an arm changes in the base."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..config import apply_overrides, changed_paths, load_config
from ..config.yaml12 import parse
from .store import run_folder
from .structures import Arm, Plan

ITERATIONS = "train.max_iter"


class Configs:
    """The configs of a plan's base and arms, each loaded once; they are to be read, not changed."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.base = base_config(plan)
        self._arms: dict[tuple, DictConfig] = {}

    def of(self, arm: Arm) -> DictConfig:
        """Raises ValueError as `arm_config` does."""
        key = (arm.remedies, arm.overrides)
        if key == ((), ()):
            return self.base
        if key not in self._arms:
            self._arms[key] = arm_config(self.plan, arm)
        return self._arms[key]


def base_config(plan: Plan) -> DictConfig:
    """The config of the baseline: what every arm is a change of."""
    return load_config(plan.config, (), plan.overrides)


def arm_config(plan: Plan, arm: Arm) -> DictConfig:
    """The base config with the arm's remedies, then everybody's overrides, then the arm's own.

    Raises:
        ValueError: a remedy does not fit the base config, or collides with another; by name.
    """
    cfg = load_config(plan.config, arm.remedies, plan.overrides)
    for word in arm.overrides:
        key, _, value = word.partition("=")
        if key == ITERATIONS:  # may be a call, such as epochs_to_iterations(...), which no number would replace
            cfg.train.max_iter = parse(value)
        else:
            apply_overrides(cfg, [word])
    return cfg


def cell_config(plan: Plan, arm: Arm, seed: int, root: Path) -> DictConfig:
    """The arm's config with the seed and folder of one run, without the periodic checkpoints that nobody reads here."""
    cfg = arm_config(plan, arm)
    with open_dict(cfg.train):
        cfg.train.seed = seed
        cfg.train.output_dir = str(Path(root) / run_folder(arm.name, seed))
        if not any(word.startswith("train.checkpointer.max_to_keep=") for word in plan.overrides):
            cfg.train.checkpointer = {**cfg.train.get("checkpointer", {}), "max_to_keep": 0}
    return cfg


def iterations_of(cfg: DictConfig) -> int:
    """`train.max_iter` as a number."""
    from ..engine.settings import read_settings

    return read_settings(cfg).max_iter


def arm_iterations(arm: Arm, base: int) -> int:
    """Of an arm, where the base config has `base`: only its overrides may say otherwise (see budget)."""
    own = [int(word.partition("=")[2]) for word in arm.overrides if word.startswith(f"{ITERATIONS}=")]
    return own[-1] if own else base


def changes_of(base: DictConfig, cfg: DictConfig) -> list[str]:
    """The keys in which an arm's config differs from the base, without the list of remedies."""
    return [path for path in changed_paths(base, cfg) if path != "remedies"]


def node_at(cfg: DictConfig, path: str) -> Any:
    """The unresolved value at a key as plain containers, None if there is none."""
    node: Any = OmegaConf.to_container(cfg, resolve=False)
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node
