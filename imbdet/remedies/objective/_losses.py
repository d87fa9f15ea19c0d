"""Which losses belong together: the classification's and the box's of one head or stage."""

from collections.abc import Iterable

from torch import Tensor

BOX = ("box_reg", "loc", "reg")  #: what stands in the name of a box loss where that of a classification has "cls"


def pairs(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return ("loss_cls", "loss_box_reg") and the like, in the order of the names; a loss without a partner is in
    none.
    """
    known = list(names)
    found = []
    for name in known:
        partners = [name.replace("cls", word) for word in BOX if "cls" in name]
        found += [(name, partner) for partner in partners if partner in known][:1]
    return found


def present(names: Iterable[str], losses: dict[str, Tensor]) -> list[str]:
    """Return those of the names that are losses of this step.

    Raises:
        ValueError: none is.
    """
    found = [name for name in names if name in losses]
    if not found:
        raise ValueError(f"the objective weighs {', '.join(names)}, but the losses are {', '.join(losses)}")
    return found
