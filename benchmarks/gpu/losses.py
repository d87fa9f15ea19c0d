"""Part `losses`: fixed weights and a fixed batch, the losses beside the CPU's, in float32 and under autocast.

On a CPU, where there is no second device, the convolutions of oneDNN stand beside torch's own: another order of
summation, which shows what a config makes of rounding.
"""

import contextlib
from typing import Any

import torch

from .cases import CONFIGS, Proposals, detector, difference, exact, one_step, pictures
from .child import figures

FLOAT32 = 1e-4  #: largest relative difference of a loss
MIXED = 1e-2  #: the same under autocast
#: where rounding moves whole regions: GHM-R weighs one by how many share its bin, PAA parts regions by their losses
MIXED_OF = {"remedies/spatial_regression/ghm_r": 0.2, "combined/ghm": 0.2, "remedies/spatial_location/paa": 0.2}


def units(small: bool) -> list[str]:
    return CONFIGS


def run(unit: str, device: str, small: bool) -> dict:
    row: dict[str, Any] = {"short": []}
    model, given, proposals = detector(unit, small), pictures(), Proposals()
    with exact(), oneDNN(device != "cpu"):
        reference, norm = one_step(model, given, proposals, record=True)
    model.to(device)
    with exact():
        losses, other = one_step(model, given, proposals, record=False)
    row |= {"float32": difference(losses, reference), "gradient": abs(other - norm) / max(norm, 1e-12)}
    row["proposals"] = proposals.same
    if row["float32"] > FLOAT32:
        row["short"].append(f"losses differ by {row['float32']:.2g}: {losses}, on the CPU {reference}")
    row |= mixed(unit, model, given, proposals, losses, device, row["short"])
    return figures(loss=sum(reference.values()), **row)


def mixed(unit: str, model: Any, given: tuple, proposals: Proposals, losses: dict, device: str, short: list) -> dict:
    """The differences of the losses under autocast; what is too large is added to `short`."""
    row = {}
    for dtype in (torch.bfloat16, torch.float16) if device != "cpu" else (torch.bfloat16,):
        name = str(dtype).removeprefix("torch.")
        found, norm = one_step(model, given, proposals, record=False, dtype=dtype)
        row[name] = difference(found, losses)
        if not row[name] <= MIXED_OF.get(unit, MIXED):
            short.append(f"losses under {name} differ by {row[name]:.2g}: {found}, in float32 {losses}")
        if norm != norm or (dtype is torch.bfloat16 and norm == float("inf")):
            short.append(f"the gradient under {name} is not finite")
    return row


def oneDNN(enabled: bool) -> Any:  # noqa: N802 (its own spelling)
    """Convolutions of the CPU with or without oneDNN."""
    return contextlib.nullcontext() if enabled else torch.backends.mkldnn.flags(enabled=False)
