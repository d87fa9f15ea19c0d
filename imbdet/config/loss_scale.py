"""The key `loss_scale`: "published" leaves every loss its own weight; "match" makes those that differ from the plain
config's as large as they were there.

What is notable here: which losses differ is found from the two configs, whoever changed them. The criterion becomes a
ScaledCriterion, and what stood in a slot before is put beside its parts, as a node like any other, so that a saved
config is complete.
"""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..slots import CRITERIA
from .lazy import contents, plain

VALUES = ("published", "match")
PLAIN, SCALED = "imbdet.modeling.criterion.Criterion", "imbdet.modeling.loss_scale.ScaledCriterion"
SLOTS = ("classification", "regression")


def apply_loss_scale(cfg: DictConfig, load: Callable[[], DictConfig]) -> None:
    """Put what other losses stood in the slots of `cfg` before, in place, if `cfg.loss_scale` is "match".

    Args:
        load: gives the config without remedies and overrides.

    Raises:
        ValueError: another value; or "match" on a saved config that has remedies but not what they replaced.
    """
    value = cfg.get("loss_scale")
    if value not in VALUES:
        raise ValueError(f"loss_scale is {value!r}; it must be one of {', '.join(VALUES)}")
    if value == "published":
        for node in (OmegaConf.select(cfg, path) for path in CRITERIA.values()):
            if isinstance(node, DictConfig) and "loss_scale" in node:
                with open_dict(node):
                    del node.loss_scale
                    node._target_ = PLAIN
        return
    before = load()
    if before.get("remedies") and before.get("loss_scale") != "match":
        raise ValueError(
            f"loss_scale=match: this config was saved with the remedies {', '.join(before.remedies)}, so what they "
            "replaced is not known; start from the plain config with --remedy"
        )
    for path in CRITERIA.values():
        old, new = OmegaConf.select(before, path), OmegaConf.select(cfg, path)
        if not isinstance(old, DictConfig) or not isinstance(new, DictConfig) or new._target_ not in (PLAIN, SCALED):
            continue  # another structure
        changed, present = [slot for slot in SLOTS if _plain(old, slot) != _plain(new, slot)], new.get("loss_scale")
        if changed or present:
            with open_dict(new):
                new._target_, new.loss_scale = SCALED, _node(old, changed, present)


def _node(old: DictConfig, changed: list[str], present: Any) -> dict:
    """The call of LossScale with what stood in the changed slots; `present` is one that is there already."""
    node = dict(plain(present)) if present else {"_target_": "imbdet.modeling.loss_scale.LossScale"}
    for slot in changed:
        node.setdefault(slot, _plain(old, slot))
        node.setdefault(f"{slot}_weight", _plain(old, f"{slot}_weight") or 1.0)
    return node


def _plain(node: DictConfig, key: str) -> Any:
    return contents(node).get(key)
