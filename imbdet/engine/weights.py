"""Weights from a file into a model, with an error that says what does not fit.

Order of preference inside a checkpoint: "ema" (what was evaluated), "model", or the dict itself if it is a bare state
dict.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import load_file

SHOWN = 5  #: names listed of each kind of difference


def load_model_weights(model: nn.Module, path: str | Path, strict: bool = True) -> list[str]:
    """Load the weights of checkpoint `path` into `model`; optimizer and iteration are left out.

    `.pkl` files and detectron2's `.pth` are handed to `imbdet.load_detectron2_weights`.
    strict: every name and shape must agree. Else what differs keeps its initial value (a head for another number of
    classes). Returns what was not loaded, one line each (empty if strict). Raises FileNotFoundError; ValueError for a
    damaged file, for a checkpoint of another model, or if nothing at all fits.
    """
    path = Path(path)
    if path.suffix == ".pkl":
        return _from_detectron2(model, path, strict)
    state = load_file(path)
    weights = _weights(state, path)
    own = model.state_dict()
    if "config" not in state and _looks_like_detectron2(weights, own):  # a checkpoint of ours holds its config
        return _from_detectron2(model, path, strict)

    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    shapes = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    report = [
        *_listed("missing in the file", missing),
        *_listed("not in this model", unexpected),
        *_listed("of another shape", [f"{n} {tuple(weights[n].shape)}, here {tuple(own[n].shape)}" for n in shapes]),
    ]
    fitting = {name: weights[name] for name in own if name in weights and name not in set(shapes)}
    if report and (strict or not fitting):
        raise ValueError(
            f"{path} does not fit {type(model).__name__} ({len(fitting)} of {len(own)} entries agree):\n  "
            + "\n  ".join(report)
            + "\nUse the config this checkpoint was trained with; to start from the part that fits,"
            " set train.init_checkpoint and train.init_strict=false"
        )
    model.load_state_dict(fitting, strict=False)
    return report


def _weights(state: dict[str, Any], path: Path) -> dict[str, Tensor]:
    weights = state.get("model", state)
    if isinstance(weights, dict) and state.get("ema"):
        weights = {**weights, **state["ema"]["shadow"]}
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ValueError(f"{path} holds no weights: its entries are {sorted(map(str, state))[:10]}")
    return weights


def _looks_like_detectron2(weights: dict[str, Tensor], own: dict[str, Tensor]) -> bool:
    """Names of detectron2's meta architectures which no model of ours has."""
    marks = ("backbone.bottom_up.", "backbone.fpn_", "proposal_generator.")
    return any(name.startswith(marks) and name not in own for name in weights)


def _from_detectron2(model: nn.Module, path: Path, strict: bool) -> list[str]:
    from ..modeling.detectron2_weights import load_detectron2_weights

    report = load_detectron2_weights(model, path, strict)
    return [
        *_listed("missing in the file", report["missing"]),
        *_listed("not in this model", report["unexpected"]),
        *_listed("of another shape", report["other_shape"]),
    ]


def _listed(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"]


def initialise(model: nn.Module, path: str, strict: bool, say: Any = print) -> None:
    """`train.init_checkpoint`: weights only, with a printed list of what does not fit if not strict. Empty path:
    nothing.
    """
    if not path:
        return
    left_out = load_model_weights(model, path, strict=strict)
    say(f"weights from {path}" + ("; kept at their initial values or left out:" if left_out else ""))
    for line in left_out:
        say(f"  {line}")


def share(model: nn.Module, path: str, say: Any = print) -> None:
    """`train.init_shared`: the entries of this file that the model has in the same shape, whatever else either holds.

    After `initialise`: so the runs of a comparison begin with the same random numbers. Empty path: nothing.
    """
    if not path:
        return
    weights, own = load_file(path)["model"], model.state_dict()
    fitting = {k: value for k, value in weights.items() if k in own and own[k].shape == value.shape}
    model.load_state_dict(fitting, strict=False)
    say(f"{len(fitting)} of {len(own)} entries begin as in {path}")


def cpu_copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict that later steps do not change, on the CPU."""
    return {name: torch.empty_like(value, device="cpu").copy_(value) for name, value in state.items()}


__all__ = ["cpu_copy", "initialise", "load_model_weights", "share"]
