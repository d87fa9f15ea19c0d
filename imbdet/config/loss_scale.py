"""The key `loss_scale`: "published" leaves every loss its own weight; "match" makes those that differ from the plain
config's as large as they were there.

What is notable here: which losses differ is found from the two configs, whoever changed them. What stood in a slot
before is put beside the criterion's parts, as a node like any other, so that a saved config is complete.
"""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from .keys import accepts
from .lazy import plain

VALUES = ("published", "match")
CRITERIA = ("model.criterion", "model.roi_heads.criterion", "model.rpn.criterion")
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
        for node in (OmegaConf.select(cfg, path) for path in CRITERIA):
            if isinstance(node, DictConfig) and node.get("loss_scale") is not None:
                node.loss_scale = None
        return
    before = load()
    if before.get("remedies") and before.get("loss_scale") != "match":
        raise ValueError(
            f"loss_scale=match: this config was saved with the remedies {', '.join(before.remedies)}, so what they "
            "replaced is not known; start from the plain config with --remedy"
        )
    for path in CRITERIA:
        old, new = OmegaConf.select(before, path), OmegaConf.select(cfg, path)
        if (
            isinstance(old, DictConfig) and isinstance(new, DictConfig) and accepts(cfg, path, "loss_scale")
        ):  # else another structure
            changed = [slot for slot in SLOTS if _plain(old, slot) != _plain(new, slot)]
            if changed:
                with open_dict(new):
                    new.loss_scale = _node(old, changed, new.get("loss_scale"))


def _node(old: DictConfig, changed: list[str], present: Any) -> dict:
    """The call of LossScale with what stood in the changed slots; `present` is one that is there already."""
    node = dict(plain(present)) if present else {"_target_": "imbdet.modeling.loss_scale.LossScale"}
    for slot in changed:
        node.setdefault(slot, _plain(old, slot))
        node.setdefault(f"{slot}_weight", _plain(old, f"{slot}_weight") or 1.0)
    return node


def _plain(node: DictConfig, key: str) -> Any:
    return OmegaConf.to_container(node, resolve=False).get(key)
