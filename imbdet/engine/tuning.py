"""Choose a parameter that acts after training alone, such as the power of a calibration, on data that is not judged.

What can be tuned a filler says itself (`Slot.tunable`), so that one place serves all.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict

from ..config import locate, slots_of
from .trained import evaluate_checkpoint


def tunable(cfg: Any) -> dict[str, tuple[float, ...]]:
    """Return {config key: values to try} of all fillers of slots."""
    found = {}
    for path, filler in slots_of(cfg).values():
        values = getattr(locate(filler, path), "tunable", {}) if filler.startswith("imbdet.remedies.") else {}
        found.update({f"{path}.{name}": tuple(tried) for name, tried in values.items()})
    return found


def tune(cfg: Any, checkpoint: str | Path, split: str, log: Callable[[str], None] = print) -> Any:
    """Return a copy of `cfg` with the value that gives the best AP on `split`; of equal ones the first.

    Args:
        split: "train" or "val", evaluated as `val` is: resized, not augmented. log: gets a line for each value.

    Raises:
        ValueError: nothing in `cfg` can be tuned, or more than one parameter.
    """
    known = tunable(cfg)
    if len(known) != 1:
        there = f"{len(known)}: {', '.join(known)}" if known else "none; give a --remedy that acts after training"
        raise ValueError(f"one parameter is tuned, and the fillers of this config have {there}")
    ((key, values),) = known.items()
    best, best_ap = None, float("-inf")
    for value in values:
        tried = cfg.copy()
        with open_dict(tried):
            OmegaConf.update(tried, key, value)
            if split == "train":
                tried.data.val = "${data.train}"
        ap = evaluate_checkpoint(tried, checkpoint, "val")[0]["AP"]
        log(f"tuning on {split}: {key}={value:g}: AP {100 * ap:.2f}")
        if ap > best_ap:
            best, best_ap = value, ap
    chosen = cfg.copy()
    OmegaConf.update(chosen, key, values[0] if best is None else best)
    log(f"chosen on {split}, not on what is judged: {key}={values[0] if best is None else best:g}")
    return chosen
