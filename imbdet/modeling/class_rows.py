"""Rows of a head's last layers, moved to the classes of the same name.

Notable: a layer says itself how its rows are laid out (`by_class`), so a head of any structure takes part, each stage
of a cascade included. A layer that serves all classes alike is not marked.

Letters: G groups (anchors a cell), C logits, K classes (C - K rows are the background's), V values of a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from ..data.class_names import match_names
from ..data.datasets.classes import listed

Layer = TypeVar("Layer", bound=nn.Module)


@dataclass(frozen=True)
class ClassRows:
    """Rows are laid out (G, C, V): groups G, and `each` = V rows of a class."""

    groups: int = 1
    each: int = 1


def by_class(layer: Layer, groups: int = 1, each: int = 1) -> Layer:
    """Say that the rows of this layer's parameters belong to classes; returns the layer."""
    object.__setattr__(layer, "class_rows", ClassRows(groups, each))
    return layer


def rows_by_name(
    model: nn.Module, weights: dict[str, Tensor], theirs: Sequence[str], ours: Sequence[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a model of other classes, as far as `model` can use them.

    Args:
        weights: state entries in the names of `model`, of a model of the classes `theirs`. ours: classes of `model`.

    Returns:
        The entries, with a row of a class where `model` has it. New classes, and the background unless both have the
        same classes in some order, keep the values of `model`. Then lines that say what became of which class; none if
        the classes are the same ones in the same order.

    Raises:
        ValueError: a layer has not as many rows as `theirs` has names.
    """
    place = match_names(ours, theirs)
    if place == list(range(len(theirs))):
        return weights, []
    same = sorted(place) == list(range(len(theirs)))
    own, moved, background = model.state_dict(), dict(weights), 0
    for prefix, module in model.named_modules():
        rows: ClassRows | None = getattr(module, "class_rows", None)
        for name, _ in module.named_parameters(prefix, recurse=False):
            if rows is not None and name in weights:
                moved[name], others = _moved(name, weights[name], own[name], rows, place, len(theirs), same)
                background = max(background, others)
    kept = [name for name, at in zip(ours, place, strict=True) if at >= 0]
    new = [name for name, at in zip(ours, place, strict=True) if at < 0]
    unused = [name for i, name in enumerate(theirs) if i not in place]
    if background:
        (kept if same else new).append("the background")
    lines = [f"kept by name: {listed(kept, 100)}", f"initial values: {listed(new, 100)}"]
    return moved, [*lines, f"not used: {listed(unused, 100)}"]


def _moved(
    name: str, old: Tensor, new: Tensor, rows: ClassRows, place: list[int], known: int, same: bool
) -> tuple[Tensor, int]:
    """Rows of `old` at the places of `new`, and how many logits of `new` are no class's."""
    unit, classes = rows.groups * rows.each, len(place)
    if len(old) % unit or len(new) % unit or old.shape[1:] != new.shape[1:]:
        return old, 0  # another shape for another reason than the classes
    had, has = len(old) // unit, len(new) // unit
    if (has == 1 < classes) or (had == 1 < known):  # one set of rows for all classes, on one side at least
        return old, 0
    if not 0 <= had - known <= 2:
        raise ValueError(f"{name} has rows of {had} logits, which do not fit {known} class names")
    result = new.detach().clone().view(rows.groups, has, rows.each, *new.shape[1:])
    source = old.to(result).view(rows.groups, had, rows.each, *old.shape[1:])
    mine = [k for k, at in enumerate(place) if at >= 0]
    result[:, mine] = source[:, [place[k] for k in mine]]
    if same and had - known == has - classes:
        result[:, classes:] = source[:, known:]
    return result.view_as(new), has - classes
