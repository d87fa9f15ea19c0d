"""Which part of a detector learns (`train.freeze`) and which starts anew after a checkpoint (`train.reset`).

A pattern is the name of a parameter or of a module above it ("backbone", "roi_heads.box_predictor.cls_score"), with
`*` and `?` as in file names. "!pattern" takes back what earlier patterns chose: ["*", "!*.cls_score"] is all but the
classifier.
"""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn


def matching(names: Iterable[str], patterns: Sequence[str], key: str) -> list[str]:
    """Return those of `names` that the patterns choose, in their order.

    Args:
        key: the setting, for errors.

    Raises:
        ValueError: a pattern that chooses nothing; the nearest name is given.
    """
    names = list(names)
    chosen: set[str] = set()
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        found = {name for name in names if any(fnmatchcase(part, wanted) for part in _with_parents(name))}
        if not found:
            known = sorted({part for name in names for part in _with_parents(name)})
            near = difflib.get_close_matches(wanted, known, 1, 0.3)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{key}: no parameter or module is called {wanted!r}{hint}")
        chosen = chosen - found if pattern.startswith("!") else chosen | found
    return [name for name in names if name in chosen]


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """Return parameters that the patterns choose become constants: no gradient, no update, no weight decay.

    Returns:
        The batch norms all of whose parameters are among them, which are to stay in eval mode.
    """
    parameters = dict(model.named_parameters())
    chosen = set(matching(parameters, patterns, "train.freeze"))
    for name in chosen:
        parameters[name].requires_grad_(False)
    return [
        module
        for place, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.affine
        and chosen.issuperset(f"{place}.{name}" for name, _ in module.named_parameters(recurse=False))
    ]


def entries_to_reset(model: nn.Module, patterns: Sequence[str]) -> dict[str, Tensor]:
    """Return copies of the entries of the state dict that the patterns choose, to be put back after a checkpoint."""
    state = model.state_dict()
    return {name: state[name].clone() for name in matching(state, patterns, "train.reset")}


def _with_parents(name: str) -> list[str]:
    """ "a.b.c" -> a.b.c, a.b, a."""
    parts = name.split(".")
    return [".".join(parts[:i]) for i in range(len(parts), 0, -1)]
