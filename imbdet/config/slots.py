"""Which slots a config has and what fills them; `imbdet/slots.py` says where each lives and what it is called with."""

from typing import Any

from omegaconf import DictConfig, OmegaConf


def slots_of(cfg: DictConfig) -> dict[str, tuple[str, str]]:
    """{slot: (config key, what fills it)} of every slot in `cfg`, in the order of the data flow.

    What fills it is the `_target_` of the node, "(default)" for null, else the value itself.
    """
    from imbdet.slots import SLOTS  # here, because it imports torch

    container = OmegaConf.to_container(cfg, resolve=False)
    found = {}
    for slot, paths in SLOTS.items():
        for path in paths:
            value, there = _select(container, path)
            if there:
                found[slot] = (path, _filler(value))
                break
    return found


def slot_names() -> tuple[str, ...]:
    """All slots there are."""
    from imbdet.slots import SLOTS

    return tuple(SLOTS)


def slot_at(path: str) -> str:
    """The slot that a config key belongs to, "" if none: "augment" for "dataloader.train.augment.0.size"."""
    from imbdet.slots import SLOTS

    for slot, places in SLOTS.items():
        if any(path == place or path.startswith(f"{place}.") for place in places):
            return slot
    return ""


def _select(container: Any, path: str) -> tuple[Any, bool]:
    for key in path.split("."):
        if not isinstance(container, dict) or key not in container:
            return None, False
        container = container[key]
    return container, True


def _filler(value: Any) -> str:
    if value is None:
        return "(default)"
    if isinstance(value, dict):
        return str(value.get("_target_", "(settings)"))
    if isinstance(value, list):
        return ", ".join(_filler(item) for item in value) or "(none)"
    return str(value)
