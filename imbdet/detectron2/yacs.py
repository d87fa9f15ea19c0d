"""Remedies in detectron2's yacs configs: `MODEL.IMBDET.REMEDIES` and `MODEL.IMBDET.SETTINGS`.

SETTINGS are words such as "class_weights.rule.power=1"; values are YAML 1.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import yaml12
from .configs import ours, sampler_node
from .plan import Facts, Plan, plan, read_remedies

#: what `SAMPLER_TRAIN` becomes where a remedy chooses the images: detectron2's error of it tells what to do
_SAMPLER = "imbdet's: build_detection_train_loader(cfg, sampler=imbdet.detectron2.train_sampler(cfg))"


def add_imbdet_config(cfg: Any) -> None:
    """Add `MODEL.IMBDET.REMEDIES` and `MODEL.IMBDET.SETTINGS` to a yacs config, both empty."""
    cfg.MODEL.IMBDET = type(cfg)({"REMEDIES": [], "SETTINGS": []})


def apply_yacs(cfg: Any, remedies: Sequence[str | Mapping] | None = None) -> Any:
    """Return `apply` for a yacs config: note the remedies, and name our classes where they act."""
    if not hasattr(cfg, "MODEL"):
        raise ValueError(f"apply takes a LazyConfig or a CfgNode of detectron2, got a {type(cfg).__name__}")
    if "IMBDET" not in cfg.MODEL:
        add_imbdet_config(cfg)
    if remedies is not None:
        pairs = read_remedies(remedies)
        cfg.MODEL.IMBDET.REMEDIES = [name for name, _ in pairs]
        settings = [(f"{name}.{key}", value) for name, given in pairs for key, value in given.items()]
        cfg.MODEL.IMBDET.SETTINGS = [f"{key}={json.dumps(value)}" for key, value in settings]
    found = plan_of_cfg(cfg)
    if "retinanet" in found:
        cfg.MODEL.META_ARCHITECTURE = _named("retinanet", cfg.MODEL.META_ARCHITECTURE)
    if "box_predictor" in found or "roi_heads" in found:
        cfg.MODEL.ROI_HEADS.NAME = _named("roi_heads", cfg.MODEL.ROI_HEADS.NAME)
    if "proposal_generator" in found:
        cfg.MODEL.PROPOSAL_GENERATOR.NAME = _named("proposal_generator", cfg.MODEL.PROPOSAL_GENERATOR.NAME)
    if "sampler" in found:
        cfg.DATALOADER.SAMPLER_TRAIN = _SAMPLER
    return cfg


def _named(part: str, name: str) -> str:
    return ours(part, name).rsplit(".", 1)[-1]


def facts_of_cfg(cfg: Any) -> Facts:
    """Return what is known of the model and data of a yacs config."""
    data = {
        "names": tuple(cfg.DATASETS.TRAIN),
        "filter_empty": cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        "min_keypoints": cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0,
    }
    if cfg.MODEL.META_ARCHITECTURE in ("RetinaNet", "SlotsRetinaNet"):
        return Facts("retinanet", cfg.MODEL.RETINANET.NUM_CLASSES, **data)
    if cfg.MODEL.META_ARCHITECTURE != "GeneralizedRCNN":
        raise ValueError(
            f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}; imbdet's slots fit GeneralizedRCNN and "
            "RetinaNet"
        )
    heads, rpn = cfg.MODEL.ROI_HEADS, cfg.MODEL.RPN
    return Facts(
        "faster_rcnn",
        heads.NUM_CLASSES,
        heads.BATCH_SIZE_PER_IMAGE,
        heads.POSITIVE_FRACTION,
        rpn.BATCH_SIZE_PER_IMAGE,
        rpn.POSITIVE_FRACTION,
        **data,
    )


def plan_of_cfg(cfg: Any) -> Plan:
    """Return what the remedies of a yacs config change; {} where it has none.

    Raises:
        ValueError: as of `plan`; a setting that is not of the form remedy.key=value, or of a remedy that is not listed.
    """
    chosen = cfg.MODEL.IMBDET if "IMBDET" in cfg.MODEL else {"REMEDIES": [], "SETTINGS": []}
    given: dict[str, dict[str, Any]] = {name: {} for name in chosen["REMEDIES"]}
    for word in chosen["SETTINGS"]:
        key, equals, text = word.partition("=")
        name = next((one for one in given if key.startswith(f"{one}.")), None)
        if not equals or name is None:
            listed = ", ".join(given) or "none"
            raise ValueError(
                f"MODEL.IMBDET.SETTINGS: {word!r} is not remedy.key=value of a remedy in REMEDIES ({listed})"
            )
        given[name][key.removeprefix(f"{name}.")] = yaml12.parse(text)
    return plan(facts_of_cfg(cfg), [{name: settings} for name, settings in given.items()]) if given else {}


def fillers_of_cfg(cfg: Any, part: str) -> dict[str, Any]:
    """Return the arguments that the remedies of a yacs config give to a part of detectron2, built."""
    return {name: _built(node) for name, node in plan_of_cfg(cfg).get(part, {}).items()}


def train_sampler(cfg: Any) -> Any:
    """Return the torch sampler of the remedies of a yacs config, None where none of them chooses images."""
    arguments = plan_of_cfg(cfg).get("sampler")
    return None if arguments is None else _built(sampler_node(facts_of_cfg(cfg), arguments))


def _built(node: Any) -> Any:
    from detectron2.config import instantiate

    return instantiate(node)
