"""What a remedy becomes in detectron2: one table, and no line about any single remedy.

A remedy's `apply` is run on a config of ours that stands for the user's model (its classes, its sampled regions). What
it changed there is looked up in PLACES and handed to the part of detectron2 that has the place; anything else is
refused with the reason. detectron2 itself is not needed to plan.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config import apply_overrides, changed_paths, load_config, remedy_names
from ..config.build import locate
from ..config.keys import accepts, child
from ..config.remedy import apply_remedies
from ..slots import CRITERIA, BoxForm

RECORDS = "imbdet.detectron2.data.records_from"
LATER = "imbdet.detectron2.data.later"
_LOSSES = (
    "classification",
    "regression",
    "weighting",
    "normalizer",
    "coupling",
    "classification_weight",
    "regression_weight",
)
_REGIONS = ("region_sampler", "matcher")
_TEST = {"model.calibration": "calibration", "model.score_threshold": "test_score_thresh"}
_DATA = {"dataloader.train.image_sampler": "image_sampler", "dataloader.train.balance": "balance"}


def _places(criterion: str, names: Sequence[str]) -> dict[str, str]:
    return {f"{CRITERIA[criterion]}.{name}": name for name in names}


#: kind of detector -> part of detectron2 -> {key of our config: argument of the part}
PLACES = {
    "faster_rcnn": {
        "box_predictor": {**_places("roi", _LOSSES), **_TEST},
        "roi_heads": _places("roi", _REGIONS),
        "proposal_generator": _places("rpn", _LOSSES + _REGIONS),
        "sampler": _DATA,
    },
    "retinanet": {
        "retinanet": {**_places("dense", _LOSSES + _REGIONS), **_TEST},
        "sampler": _DATA,
    },
}
#: why a key of our config has no place there; the longest that fits is told
REASONS = {
    "model": "it replaces the detector by one of imbdet's",
    "model.neck": "the neck is a part of your backbone node",
    "model.rpn": "it replaces the RPN by one of imbdet's",
    "model.anchors": "anchors are made by your anchor_generator",
    "model.criterion": "it replaces the dense heads by imbdet's",
    "model.roi_heads": "it replaces the RoI heads by imbdet's",
    "model.roi_heads.classifier": "the last layer is cls_score of the box predictor",
    "model.roi_heads.region_features": "detectron2 pools and classifies regions in one step, with no place in between",
    "model.objective": "detectron2 sums its losses in the trainer",
    "model.voting": "detectron2 has no voting after NMS (its setting voting: None leaves that part out)",
    "dataloader.train.augment": "pictures are made by your mapper",
    "dataloader.train.mix": "pictures are made by your mapper",
}


@dataclass(frozen=True)
class Facts:
    """What is known of the user's model and data.

    kind: a key of PLACES. num_classes: K. per_image, fraction: of the RoI heads' sampling; rpn_per_image, rpn_fraction:
    of the RPN's. names: of data sets in the DatasetCatalog, () if unknown. filter_empty, min_keypoints: what images the
    train loader leaves out.
    """

    kind: str
    num_classes: int
    per_image: int = 512
    fraction: float = 0.25
    rpn_per_image: int = 256
    rpn_fraction: float = 0.5
    names: tuple[str, ...] = ()
    filter_empty: bool = True
    min_keypoints: int = 0


Plan = dict[str, dict[str, Any]]


def read_remedies(remedies: Sequence[str | Mapping]) -> list[tuple[str, dict[str, Any]]]:
    """Map ["ohem", {"class_weights": {"rule.power": 1}}] -> [("ohem", {}), ("class_weights", {"rule.power": 1})].

    Raises:
        ValueError: neither a name nor a mapping from names to settings.
    """
    if isinstance(remedies, (str, Mapping)):
        remedies = [remedies]
    found: list[tuple[str, dict[str, Any]]] = []
    for one in remedies:
        pairs = one.items() if isinstance(one, Mapping) else [(one, {})]
        for name, settings in pairs:
            if not isinstance(name, str) or not isinstance(settings, Mapping):
                raise ValueError(f'remedies are names or {{"class_weights": {{"rule.power": 1}}}}, got {one!r}')
            found.append((name, _flat(settings)))
    return found


def _flat(settings: Mapping, path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping) and "_target_" not in value
        flat.update(_flat(value, f"{path}{key}.") if nested else {f"{path}{key}": value})
    return flat


def plan(facts: Facts, remedies: Sequence[str | Mapping]) -> Plan:
    """Return {part of detectron2: {argument: plain config node or number}} of what the remedies change.

    Raises:
        ValueError: an unknown remedy or setting, two that collide, one that cannot act here (with the reason, and those
            that can), one that needs the data where no data set is named.
    """
    base = _stand_in(facts)
    cfg, applied = base, []
    for name, settings in read_remedies(remedies):
        try:
            after, applied = apply_remedies(cfg, applied, [name], f"detectron2's {facts.kind}")
            _set(after, cfg, applied[-1].changed, name, settings)
            _refuse(changed_paths(cfg, after), after, facts, name)
        except ValueError as error:
            if name in (one.rsplit("/", 1)[-1] for one in remedy_names()) and name not in able(facts.kind):
                raise ValueError(f"{error}; remedies that can: {', '.join(able(facts.kind))}") from None
            raise
        cfg = after
    found = _found(facts, base, cfg)
    if not facts.names and RECORDS in str(found):
        raise ValueError(f"remedies {remedies!r} need the data: name it, as in apply(..., dataset='my_dataset_train')")
    return found


@functools.cache
def able(kind: str) -> tuple[str, ...]:
    """Return the shipped remedies that can act in this kind of detector, each tried alone."""
    facts = Facts(kind, 1)
    base, found = _stand_in(facts), []
    for name in remedy_names():
        try:
            after, applied = apply_remedies(base, [], [name], kind)
            _refuse(applied[0].changed, after, facts, name)
        except ValueError:
            continue
        found.append(name.rsplit("/", 1)[-1])
    return tuple(found)


def _stand_in(facts: Facts) -> DictConfig:
    """A config of ours with the numbers of the user's model that remedies look at."""
    cfg = load_config(f"baselines/{facts.kind}_r50_coco")
    OmegaConf.set_struct(cfg, False)
    cfg.model.num_classes = facts.num_classes
    cfg.data.train = {
        "_target_": RECORDS,
        "names": list(facts.names),
        "filter_empty": facts.filter_empty,
        "min_keypoints": facts.min_keypoints,
        "num_classes": facts.num_classes,
    }
    if facts.kind == "faster_rcnn":
        cfg.model.roi_heads.criterion.region_sampler.update(per_image=facts.per_image, fraction=facts.fraction)
        cfg.model.rpn.criterion.region_sampler.update(per_image=facts.rpn_per_image, fraction=facts.rpn_fraction)
    return cfg


def _set(cfg: DictConfig, before: DictConfig, changed: Sequence[str], name: str, settings: Mapping[str, Any]) -> None:
    """Settings of a remedy, each at the node or key that the remedy filled and that takes it."""
    for key, value in settings.items():
        places = [path for path in changed if path.rsplit(".", 1)[-1] == key]
        places = places or [f"{path}.{key}" for path in changed if _takes(cfg, f"{path}.{key}")]
        if not places:
            nodes = ", ".join(changed)
            raise ValueError(f"remedy {name!r} has no setting {key!r}; it fills {nodes}")
        if len(places) > 1:
            raise ValueError(f"remedy {name!r}: setting {key!r} fits {' and '.join(places)}; write more of the key")
        parent, _, last = places[0].rpartition(".")
        if value is None and places[0] in changed and last not in OmegaConf.select(before, parent):
            del OmegaConf.select(cfg, parent)[last]
        elif value is None or isinstance(value, Mapping):
            OmegaConf.update(cfg, places[0], value, merge=False)
        else:
            apply_overrides(cfg, [f"{places[0]}={json.dumps(value)}"])


def _takes(cfg: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    node: Any = cfg
    try:
        for part in parent.split("."):
            node = child(node, part)
    except KeyError:
        return False
    return isinstance(node, DictConfig) and (last in node or accepts(cfg, parent, last))


def _refuse(changed: Sequence[str], cfg: DictConfig, facts: Facts, name: str) -> None:
    """Raises ValueError if one of the changed keys of `cfg` has no place in detectron2."""
    for path in changed:
        if path == "remedies" or (_part_of(facts, path) and not _is_form(OmegaConf.select(cfg, path))):
            continue
        fitting = [key for key in REASONS if path == key or path.startswith(f"{key}.")]
        reason = REASONS[max(fitting, key=len)] if fitting else "detectron2 has no such key"
        reason = "detectron2 decodes deltas" if _part_of(facts, path) else reason
        raise ValueError(
            f"remedy {name!r} cannot act inside detectron2's {facts.kind}: it changes {path}, but {reason}"
        )


def _is_form(node: Any) -> bool:
    """Whether it makes a regression without deltas."""
    made = locate(node._target_) if isinstance(node, DictConfig) and "_target_" in node else None
    return isinstance(made, type) and issubclass(made, BoxForm)


def _part_of(facts: Facts, path: str) -> tuple[str, str] | None:
    """The part of detectron2 and the key of ours that holds `path`."""
    for part, places in PLACES[facts.kind].items():
        for key in places:
            if path == key or path.startswith(f"{key}."):
                return part, key
    return None


def _found(facts: Facts, base: DictConfig, cfg: DictConfig) -> Plan:
    result: Plan = {}
    for path in changed_paths(base, cfg):
        place = _part_of(facts, path)
        if place is not None:
            part, key = place
            result.setdefault(part, {})[PLACES[facts.kind][part][key]] = _resolved(cfg, key)
    return result


def _resolved(cfg: DictConfig, key: str) -> Any:
    """The node at `key` as plain containers; the data and other parts that it points to stand in it."""
    node = OmegaConf.select(cfg, key)
    return _portable(OmegaConf.to_container(node, resolve=True)) if OmegaConf.is_config(node) else node


def _portable(node: Any) -> Any:
    """Without `_partial_`, which detectron2's `instantiate` does not know."""
    if isinstance(node, list):
        return [_portable(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _portable(value) for key, value in node.items()}
    if node.pop("_partial_", False):
        node = {**node, "call": node["_target_"], "_target_": LATER}
    return node
