"""Weights from a file into a model, with an error that says what does not fit.

Order of preference inside a checkpoint: "ema" (what was evaluated), "model", or the dict itself if it is a bare state
dict.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

from ..data.datasets.classes import listed
from ..modeling.class_rows import rows_by_name
from ..modeling.detectron2_weights import load_detectron2_weights
from .checkpoint import load_file
from .origin import trained_on
from .settings import Settings

UNNAMED = "the file does not name its classes: rows of classes are taken as they lie (train.init_classes names them)"
TRAINED = "trained"  #: key of a `train.init_shared` file: the names of its entries that come from a training
SHOWN = 5  #: names listed of each kind of difference


def load_model_weights(
    model: nn.Module,
    path: str | Path,
    strict: bool = True,
    class_names: Sequence[str] = (),
    their_names: Sequence[str] = (),
    say: Callable[[str], Any] | None = None,
    anew: Collection[str] = (),
) -> list[str]:
    """Load the weights of checkpoint `path` into `model`; optimizer and iteration are left out.

    `.pkl` files and detectron2's `.pth` are handed to `imbdet.load_detectron2_weights`.

    Args:
        strict: every name and shape must agree. Else what differs keeps its initial value (a head for another number
            of classes).
        class_names: the model's classes. If the checkpoint's are known, too, the rows of the last layers go to the
            class of the same name; without either, row by row.
        their_names: classes of a checkpoint that does not hold their names.
        say: gets the lines that tell which classes were kept.
        anew: entries that the caller puts back afterwards; the file may lack them, or have them in another shape.

    Returns what was not loaded, one line each (empty if strict). Raises FileNotFoundError; ValueError for a damaged
    file, for a checkpoint of another model, for names that contradict it, or if nothing at all fits.
    """
    path = Path(path)
    say = say or (lambda line: None)
    classes = (their_names, class_names) if class_names and their_names else None
    if path.suffix == ".pkl":
        return _from_detectron2(model, path, strict, classes, say)
    state = load_file(path)
    weights = _weights(state, path)
    carried = trained_on(state, path)
    if carried is None and "config" not in state and is_detectron2(weights):
        return _from_detectron2(model, path, strict, classes, say)
    if carried is not None:
        if their_names and tuple(their_names) != carried.class_names:
            raise ValueError(
                f"{path} holds the classes {listed(carried.class_names, 100)}; train.init_classes says"
                f" {listed(their_names, 100)}. Leave train.init_classes empty"
            )
        classes = (carried.class_names, class_names) if class_names else None
    if class_names and classes is None:
        say(UNNAMED)
    if classes:
        weights, lines = rows_by_name(model, weights, *classes)
        for line in lines:
            say(f"classes {line}")
    return _load(model, weights, path, strict, anew)


def _load(model: nn.Module, weights: dict[str, Tensor], path: Path, strict: bool, anew: Collection[str]) -> list[str]:
    """Load what fits, but for entries in `anew`; what does not fit, one line each."""
    own = {name: value for name, value in model.state_dict().items() if name not in anew}
    weights = {name: value for name, value in weights.items() if name not in anew}
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    shapes = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    report = [
        *_counted("missing in the file", missing),
        *_counted("not in this model", unexpected),
        *_counted("of another shape", [f"{n} {tuple(weights[n].shape)}, here {tuple(own[n].shape)}" for n in shapes]),
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


def is_detectron2(weights: Iterable[str]) -> bool:
    """Return whether there are names of detectron2's meta architectures, which no model of ours has."""
    marks = ("backbone.bottom_up.", "backbone.fpn_", "proposal_generator.")
    return any(str(name).startswith(marks) for name in weights)


def _from_detectron2(model: nn.Module, path: Path, strict: bool, classes: Any, say: Any) -> list[str]:
    report = load_detectron2_weights(model, path, strict, classes)
    for line in report.get("classes", ()):
        say(f"classes {line}")
    return [
        *_counted("missing in the file", report["missing"]),
        *_counted("not in this model", report["unexpected"]),
        *_counted("of another shape", report["other_shape"]),
    ]


def _counted(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"]


def initialize(
    model: nn.Module,
    settings: Settings,
    class_names: Sequence[str] = (),
    say: Any = print,
    anew: Collection[str] = (),
) -> None:
    """`train.init_checkpoint`: weights only, with what became of which class and, if not strict, of what does not fit.

    class_names: the model's classes. anew: see `load_model_weights`. An empty path does nothing.
    """
    path = settings.init_checkpoint
    if not path:
        return
    lines: list[str] = []
    names = read_names(settings.init_classes)
    left_out = load_model_weights(model, path, settings.init_strict, class_names, names, lines.append, anew)
    say(f"weights from {path}")
    if left_out:
        lines += ["kept at their initial values or left out:", *(f"  {line}" for line in left_out)]
    for line in lines:
        say(f"  {line}")


def read_names(source: str | Sequence[str]) -> list[str]:
    """Return names of classes in the order of their labels: a list of them, "coco" for the 80 of COCO 2017, or a file.

    A file is a text of one name a line, a JSON list of names, or COCO annotations, whose categories count in the order
    of their ids.

    Raises:
        ValueError: no names, or a name twice. FileNotFoundError: no such file.
    """
    if not isinstance(source, str):
        names = [str(name) for name in source]
    elif source == "coco":
        every = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        names = [name for name in every if name not in ("__background__", "N/A")]
    elif not source:
        return []
    else:
        if not Path(source).is_file():
            raise FileNotFoundError(f"train.init_classes={source}: no such file; give a list, a file, or coco")
        names = _names_in(Path(source))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"train.init_classes: {listed(twice)} more than once; a row has one class, a class one row")
    return names


def _names_in(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            content = [c["name"] for c in sorted(content["categories"], key=lambda category: category["id"])]
        return [name for name in content if isinstance(name, str)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds neither a list of names nor COCO's categories ({error})") from error


def share(model: nn.Module, path: str, say: Any = print) -> set[str]:
    """`train.init_shared`: the entries of this file that the model has in the same shape, whatever else either holds.

    After `initialize`: so the runs of a comparison begin with the same random numbers. Empty path: nothing.

    Returns:
        The names of the model's entries that the file has from a training.
    """
    if not path:
        return set()
    state, own = load_file(path), model.state_dict()
    weights = state["model"]
    fitting = {k: value for k, value in weights.items() if k in own and own[k].shape == value.shape}
    model.load_state_dict(fitting, strict=False)
    say(f"{len(fitting)} of {len(own)} entries begin as in {path}")
    return set(fitting) & set(state.get(TRAINED, ()))


def refuse_random(model: nn.Module, trained: Collection[str]) -> None:
    """Raise ValueError if a parameter is frozen that no training gave its values. A backbone has weights of its own.

    trained: names of the parameters that were loaded.
    """
    frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
    random = [name for name in frozen if name not in trained and not name.startswith("backbone.")]
    if random:
        raise ValueError(
            f"train.freeze would keep {len(random)} parameters at their random first values ({listed(random, 3)}): "
            "begin with a finished run, train.init_checkpoint=output/run/best.pth, or imbdet compare with --start and "
            "--start-keeps '*'"
        )


def cpu_copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict that later steps do not change, on the CPU."""
    return {name: torch.empty_like(value, device="cpu").copy_(value) for name, value in state.items()}


__all__ = ["cpu_copy", "initialize", "is_detectron2", "load_model_weights", "read_names", "refuse_random", "share"]
