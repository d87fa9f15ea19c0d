"""Parameter groups, the linear scaling rule, and gradient clipping with how often it acts. The optimizers are
torch's, named in `cfg.optimizer`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

NORMS = (
    nn.modules.batchnorm._BatchNorm,  # all dimensions and SyncBatchNorm
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)


def get_default_optimizer_params(
    model: nn.Module,
    base_lr: float | None = None,
    weight_decay: float | None = None,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float | None = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: dict[str, dict[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Return the parameters that train, in groups of equal settings; signature and meaning are detectron2's.

    base_lr, weight_decay: only to be given when a factor or override below needs them; else the optimizer's own apply.
    weight_decay_norm: decay of normalization layers. bias_lr_factor, weight_decay_bias: of every parameter called
    `bias`. lr_factor_func: parameter name -> factor on base_lr. overrides: {last part of a parameter's name:
    {"lr"|"weight_decay": value}}. Precedence: norm < lr_factor_func < bias and overrides. A shared parameter counts
    once. Raises ValueError where a factor is given without base_lr, and for a model with nothing to train.
    """
    overrides = {name: dict(values) for name, values in (overrides or {}).items()}
    bias: dict[str, float] = {}
    if bias_lr_factor is not None and bias_lr_factor != 1.0:
        bias["lr"] = _needs(base_lr, "bias_lr_factor") * bias_lr_factor
    if weight_decay_bias is not None:
        bias["weight_decay"] = weight_decay_bias
    if bias:
        if "bias" in overrides:
            raise ValueError("overrides['bias'] conflicts with bias_lr_factor or weight_decay_bias: give one of them")
        overrides["bias"] = bias
    common = {k: v for k, v in (("lr", base_lr), ("weight_decay", weight_decay)) if v is not None}

    groups: dict[tuple, dict[str, Any]] = {}
    seen: set[int] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            settings = dict(common)
            if isinstance(module, NORMS) and weight_decay_norm is not None:
                settings["weight_decay"] = weight_decay_norm
            if lr_factor_func is not None:
                full_name = f"{module_name}.{name}" if module_name else name
                settings["lr"] = _needs(base_lr, "lr_factor_func") * lr_factor_func(full_name)
            settings.update(overrides.get(name, {}))
            group = groups.setdefault(tuple(sorted(settings.items())), {**settings, "params": []})
            group["params"].append(parameter)
    if not groups:
        raise ValueError(f"{type(model).__name__} has no parameter with requires_grad: there is nothing to train")
    return list(groups.values())


def _needs(base_lr: float | None, who: str) -> float:
    if base_lr is None:
        raise ValueError(f"{who} needs base_lr: set optimizer.params.base_lr, e.g. to '${{optimizer.lr}}'")
    return base_lr


def scale_learning_rate(optimizer: torch.optim.Optimizer, batch: int, reference: int | None) -> float:
    """Apply the linear scaling rule (Goyal et al. 2017, arXiv 1706.02677): every group's rate times batch / reference.

    batch: images per optimizer step over all processes. reference: the batch the config's rate was chosen for; None or
    0: off. Returns the factor.
    """
    factor = batch / reference if reference else 1.0
    for group in optimizer.param_groups:
        group["lr"] *= factor
    return factor


class Clipping:
    """Clips gradients to an L2 norm, and counts the steps in which that acts; nothing waits for the device to count.

    max_norm: None or 0: no clipping.
    """

    def __init__(self, max_norm: float | None, device: torch.device | str = "cpu"):
        self.max_norm = max_norm or 0.0
        self.clipped = torch.zeros(2, dtype=torch.int64, device=device)  # since the last report, and of the whole run
        self.steps = [0, 0]

    def __call__(self, parameters: list[Tensor], wanted: bool) -> Tensor | None:
        """Clip the gradients of one step.

        Returns their norm before clipping as a tensor that nobody has waited for; None when neither clipping nor
        reporting (`wanted`) needs it, as it costs a pass over all gradients.
        """
        if self.max_norm:
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)
            self.clipped += norm.detach() > self.max_norm
            self.steps = [count + 1 for count in self.steps]
            return norm
        if not wanted:
            return None
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    def read(self) -> dict[str, float]:
        """Return {"clipped_share": 0..1} of the steps since the last call; nothing where nothing is clipped. Waits
        once.
        """
        if not self.steps[0]:
            return {}
        share = int(self.clipped[0]) / self.steps[0]
        self.clipped[0], self.steps[0] = 0, 0
        return {"clipped_share": share}

    def of_run(self) -> float | None:
        """Return the share of all steps of the run that were clipped; None where nothing is clipped. Waits once."""
        return int(self.clipped[1]) / self.steps[1] if self.steps[1] else None

    def state_dict(self) -> dict:
        return {"clipped": self.clipped.tolist(), "steps": list(self.steps)}

    def load_state_dict(self, state: dict) -> None:
        self.clipped = torch.tensor(state["clipped"], dtype=torch.int64, device=self.clipped.device)
        self.steps = list(state["steps"])
