"""What a checkpoint says of where it comes from: its config, its training data, its preprocessing.

Notable: with it a model is built from the checkpoint alone. What a config asks the training data for (`num_classes`,
class names, class counts) is answered by the `TrainedOn` in the data's place; no file is read.
"""

import copy
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf, open_dict

from ..config import instantiate
from ..data.class_names import TrainedOn


def training_records(cfg: Any) -> Any:
    """Return the config's training data as it is before any balancing, None if it names none."""
    for path in ("data.train", "dataloader.train.records"):
        node = OmegaConf.select(cfg, path)
        if node is not None:
            records = instantiate(node)
            return records if hasattr(records, "class_counts") else None
    return None


def resize_of(cfg: Any) -> Any:
    """Return the config node of the resizing before evaluation, None without one."""
    return _at_evaluation(cfg, "resize")


def tiles_of(cfg: Any) -> Any:
    """Return the config node of the tiles of evaluation, None without any."""
    return _at_evaluation(cfg, "tiles")


def _at_evaluation(cfg: Any, key: str) -> Any:
    for split in ("val", "test"):
        loader = OmegaConf.select(cfg, f"dataloader.{split}")
        if loader is not None:
            return loader.get(key)
    return None


def origin_of(cfg: Any, records: Any) -> dict[str, Any]:
    """Return what a checkpoint carries of its training data: see `TrainedOn`, and "preprocessing": {"preprocess",
    "resize"}, the config's nodes from a picture to the network's input, resolved. {} without data.
    """
    if records is None:
        return {}
    parts = {"preprocess": cfg.model.get("preprocess"), "resize": resize_of(cfg)}
    nodes = {k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in parts.items()}
    return {**TrainedOn.of(records).to_dict(), "preprocessing": nodes}


def trained_on(state: Mapping[str, Any], source: Any) -> TrainedOn | None:
    """Return what the checkpoint `state` carries of its training data; None for an older one. Raises ValueError if it
    is damaged.
    """
    values = state.get("trained_on")
    return TrainedOn.read(values, str(source)) if isinstance(values, Mapping) else None


def without_data(cfg: Any, data: TrainedOn) -> Any:
    """Return a copy of `cfg` whose `model` can be built without its training data. The pictures of that data are not in
    it.
    """
    cfg = copy.deepcopy(cfg)
    with open_dict(cfg):
        node = OmegaConf.create(data.node(OmegaConf.select(cfg, "data.train")))
        OmegaConf.update(cfg, "data.train", node, merge=False, force_add=True)
        if OmegaConf.select(cfg, "dataloader.train") is not None:
            cfg.dataloader.train.records = "${data.train}"
    return cfg
