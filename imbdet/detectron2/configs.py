"""Remedies in a LazyConfig of detectron2, which itself is not needed to change one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from .plan import RECORDS, Facts, plan

_HERE = "imbdet.detectron2"
#: part -> {class of detectron2: ours}
CLASSES = {
    "box_predictor": {"FastRCNNOutputLayers": "roi.Slots", "Slots": "roi.Slots"},
    "roi_heads": {"StandardROIHeads": "roi.SlotsROIHeads", "CascadeROIHeads": "roi.SlotsCascadeROIHeads"},
    "proposal_generator": {"RPN": "dense.SlotsRPN"},
    "retinanet": {"RetinaNet": "dense.SlotsRetinaNet"},
}


def apply_lazy(
    cfg: DictConfig, remedies: Sequence[str | Mapping] | None, dataset: str | Sequence[str] = ()
) -> DictConfig:
    """Return `apply` for a LazyConfig."""
    if not remedies:
        raise ValueError("apply needs remedies, e.g. apply(cfg, ['class_weights'])")
    facts = lazy_facts(cfg, dataset)
    found = plan(facts, remedies)
    model = cfg.model
    nodes = {
        "retinanet": [model],
        "proposal_generator": [model.get("proposal_generator")],
        "roi_heads": [model.get("roi_heads")],
    }
    with open_dict(cfg):
        for part, arguments in found.items():
            if part == "sampler":
                _put_sampler(cfg, facts, arguments)
                continue
            for node in _predictors(model.roi_heads) if part == "box_predictor" else nodes[part]:
                node["_target_"] = f"{_HERE}.{ours(part, node['_target_'])}"
                node.update(arguments)
    return cfg


def ours(part: str, target: Any) -> str:
    """Return the class of ours, without the package, for detectron2's class, its name or the dotted name.

    Raises:
        ValueError: another class.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    known = CLASSES[part]
    name = name.rsplit(".", 1)[-1]
    already = {value.rsplit(".", 1)[-1]: value for value in known.values()}
    if name not in known and name not in already:
        names = [one for one in known if one not in already]
        raise ValueError(f"{part} is {name}; imbdet's slots take the place of {' or '.join(names)} only")
    return known.get(name) or already[name]


def _predictors(heads: DictConfig) -> list[DictConfig]:
    if "box_predictors" in heads:
        return list(heads.box_predictors)
    one = heads.box_predictor
    return list(one) if isinstance(one, ListConfig) else [one]


def lazy_facts(cfg: DictConfig, dataset: str | Sequence[str] = ()) -> Facts:
    """Return what is known of the model and data of a LazyConfig.

    Raises:
        ValueError: a model that is neither of detectron2's R-CNNs nor its RetinaNet.
    """
    model = cfg.get("model")
    node = OmegaConf.select(cfg, "dataloader.train.dataset") or {}
    names = dataset or node.get("names") or ()
    data = {
        "names": (names,) if isinstance(names, str) else tuple(names),
        "filter_empty": bool(node.get("filter_empty", True)),
        "min_keypoints": int(node.get("min_keypoints", 0)),
    }
    heads = model.get("roi_heads") if isinstance(model, DictConfig) else None
    if heads is not None and ("box_predictor" in heads or "box_predictors" in heads):
        rpn = model.get("proposal_generator") or {}
        return Facts(
            "faster_rcnn",
            heads.num_classes,
            heads.get("batch_size_per_image", 512),
            heads.get("positive_fraction", 0.25),
            rpn.get("batch_size_per_image", 256),
            rpn.get("positive_fraction", 0.5),
            **data,
        )
    if isinstance(model, DictConfig) and "focal_loss_gamma" in model or "anchor_matcher" in (model or {}):
        return Facts("retinanet", model.num_classes, **data)
    raise ValueError(
        "the config's model has neither roi_heads with a box_predictor nor the anchor_matcher of RetinaNet; imbdet's "
        "slots fit detectron2's GeneralizedRCNN and RetinaNet"
    )


def sampler_node(facts: Facts, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node of the torch sampler."""
    records = {
        "_target_": RECORDS,
        "names": list(facts.names),
        "filter_empty": facts.filter_empty,
        "min_keypoints": facts.min_keypoints,
        "num_classes": facts.num_classes,
    }
    return {"_target_": f"{_HERE}.data.ImageStream", "records": records, **arguments}


def _put_sampler(cfg: DictConfig, facts: Facts, arguments: Mapping[str, Any]) -> None:
    if not facts.names:
        raise ValueError("an image sampler needs the data: name it, as in apply(..., dataset='my_dataset_train')")
    train = OmegaConf.select(cfg, "dataloader.train")
    if train is None:
        raise ValueError("an image sampler needs dataloader.train in the config")
    if train.get("sampler") is not None:
        raise ValueError("dataloader.train.sampler is set already; remove it, or leave the remedy out")
    train["sampler"] = sampler_node(facts, arguments)
