"""How hard the box loss pulls, beside the classification loss, on what both learn from: `balance/box_over_cls`.

The value of a loss says little of that: a loss of half the value may have four times the gradient. So on an iteration
that reports, and only there, the gradient of either loss is taken once more, from the loss back to the last parameters
that both share, and no further. Which these are the detector says (`Detector.balance_points`): the last layer of the
box head of each RoI stage, or the neck where the two losses have layers of their own from there on.
"""

import torch
from torch import Tensor, nn

PREFIX = "balance/"


def gradient_norms(
    model: nn.Module, losses: dict[str, Tensor], scaler: torch.amp.GradScaler | None = None
) -> dict[str, Tensor]:
    """Return the L2 norms of both losses' gradients at each of the model's balance points; the graph of `losses` stays.

    Returns:
        {"balance/cls", "balance/box"} ("balance/stage0_cls" ... of stages), scalar tensors that nobody has waited for.
        The keys are those of the model, whatever the batch holds, so that processes agree on them.
    """
    norms = {}
    for point, (cls_name, box_name, parameters) in getattr(model, "balance_points", dict)().items():
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        if not learned or cls_name not in losses or box_name not in losses:
            continue
        for kind, name in (("cls", cls_name), ("box", box_name)):
            key = f"{PREFIX}{point}_{kind}" if point else PREFIX + kind
            norms[key] = _norm(losses[name] if scaler is None else scaler.scale(losses[name]), learned)
    return norms


def _norm(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    if not loss.requires_grad:
        return loss.new_zeros(())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    found = [gradient.float() for gradient in gradients if gradient is not None]
    return torch.nn.utils.get_total_norm(found) if found else loss.new_zeros(())


def box_over_cls(scalars: dict[str, float]) -> dict[str, float]:
    """Return `scalars` with the pairs of norms in it replaced by their ratio; by nothing where there is no such
    gradient.
    """
    found = {}
    for tag, value in scalars.items():
        if not tag.startswith(PREFIX):
            found[tag] = value
        elif tag.endswith("box"):
            below = scalars[tag.removesuffix("box") + "cls"]
            if below > 0:
                found[f"{tag}_over_cls"] = value / below
    return found
