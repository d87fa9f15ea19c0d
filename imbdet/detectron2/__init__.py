"""imbdet's slots inside a user's own detectron2: remedies there, without a line of code for any single one.

    import imbdet.detectron2                         # registers our classes where detectron2 is importable
    imbdet.detectron2.apply(cfg, ["class_weights"])  # LazyConfig or yacs

rooms: `plan` says what a remedy becomes there, `configs` and `yacs` put it into a config, `matched` turns detectron2's
lists into the batch that slots see, `roi` and `dense` are its heads with our criterion, `data` its data sets and our
choice of images. detectron2 is no dependency: it is imported by `roi` and `dense`, and where its catalog is asked.
"""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from .configs import apply_lazy
from .data import ImageStream, counts_from, records_from
from .yacs import add_imbdet_config, apply_yacs, train_sampler

#: names that need detectron2, and their rooms
_NEED = {
    "Slots": "roi",
    "SlotsROIHeads": "roi",
    "SlotsCascadeROIHeads": "roi",
    "SlotsRetinaNet": "dense",
    "SlotsRPN": "dense",
}
HOW = (
    "imbdet.detectron2 needs detectron2: put the folder of its plain source tree (github.com/facebookresearch/"
    "detectron2, nothing to compile) on PYTHONPATH and pip install cloudpickle"
)

__all__ = ["ImageStream", "add_imbdet_config", "apply", "counts_from", "records_from", "train_sampler", *_NEED]


def apply(cfg: Any, remedies: Sequence[str | Mapping] | None = None, dataset: str | Sequence[str] = ()) -> Any:
    """Put remedies on a config of detectron2, in place.

    Args:
        cfg: a LazyConfig with `model` and, for remedies that choose images, `dataloader.train`; or a yacs CfgNode.
        remedies: names, or {name: {setting: value}}, e.g. ["ohem", {"class_weights": {"rule.power": 1}}]. None, of a
            yacs config: those of `MODEL.IMBDET.REMEDIES`.
        dataset: names in the DatasetCatalog where the LazyConfig's `dataloader.train.dataset` does not say them.

    Returns:
        cfg.

    Raises:
        ValueError: a remedy that is unknown, collides with another or cannot act here (the reason is told, and those
            that can), or a part of the model that is neither detectron2's own nor ours.
    """
    return apply_lazy(cfg, remedies, dataset) if isinstance(cfg, DictConfig) else apply_yacs(cfg, remedies)


def __getattr__(name: str) -> Any:
    if name not in _NEED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not is_there():
        raise ImportError(HOW)
    return getattr(importlib.import_module(f"{__name__}.{_NEED[name]}"), name)


def is_there() -> bool:
    """Return whether detectron2 can be imported."""
    return importlib.util.find_spec("detectron2") is not None


if is_there():  # in detectron2's registries from here on
    for _room in sorted(set(_NEED.values())):
        importlib.import_module(f"{__name__}.{_room}")
