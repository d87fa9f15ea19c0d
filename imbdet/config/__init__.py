"""Configs: python files of lazy calls, remedies as diffs on them, strict overrides, YAML that reloads equal.

from imbdet.config import LazyCall as L       # in a config file: a call to be made later
cfg = load_config("baselines/faster_rcnn_shapes", remedies=["focal_loss"], overrides=["train.max_iter=100"])
model = instantiate(cfg.model)                # now the calls are made
"""

from ..slots import slots_of
from .allowed import trust
from .build import instantiate, locate
from .difference import changed_paths, diff
from .files import configs_dir, find_config, shipped_configs
from .keys import select
from .lazy import LazyCall
from .load import baseline_of, config_in, config_of, load_config, save_config, to_yaml
from .overrides import apply_overrides
from .remedy import criterion_of, rebuilt, remedy_names

__all__ = [
    "LazyCall",
    "apply_overrides",
    "baseline_of",
    "changed_paths",
    "config_in",
    "config_of",
    "configs_dir",
    "criterion_of",
    "diff",
    "find_config",
    "instantiate",
    "load_config",
    "locate",
    "rebuilt",
    "remedy_names",
    "save_config",
    "select",
    "shipped_configs",
    "slots_of",
    "to_yaml",
    "trust",
]
