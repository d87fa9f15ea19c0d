"""What learns against the detector, beside the clock of the training.

That clock counts updates of the detector: the schedule, averaged weights, evaluations, the names of checkpoints and
`train.max_iter` know of nothing else. The steps in which adversaries learn alone come between two updates; they are
counted here and reported as cost. An adversary has an optimizer of its own, of the config's kind, at the config's rate,
which stays constant; its state begins anew where a phase begins, since step sizes that were found in one phase are not
those of the next.
"""

from collections.abc import Sequence

import torch
from torch import nn

from .distributed import World
from .meters import LossWindow
from .optimizer import Clipping


class Adversaries:
    """The adversaries of one detector, mostly none.

    Args:
        modules: see `imbdet/modeling/rest.py`. optimizer: of their parameters; None where there is nothing to learn.
        max_norm: see Clipping.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        optimizer: torch.optim.Optimizer | None,
        max_norm: float,
        device: torch.device | str = "cpu",
    ):
        self.modules, self.optimizer = list(modules), optimizer
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]] if optimizer else []
        self.clipping = Clipping(max_norm, device)
        self.window = LossWindow(torch.device(device))
        self.steps = 0  #: done so far in which they learned alone
        self.alone = False  # whether the optimizer's state is of such steps

    @property
    def rests(self) -> bool:
        """Whether the detector rests in the training step that comes next."""
        return any([module.rests for module in self.modules])

    def average(self, world: World) -> None:
        """Average gradients of a step that DistributedDataParallel does not see -> their mean over processes.
        Collective.
        """
        for parameter in self.parameters if world.size > 1 else ():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = world.mean(gradient)

    def step(self, scaler: torch.amp.GradScaler, alone: bool, reports: bool) -> dict[str, torch.Tensor]:
        """Take one step of the optimizer, if there is any gradient.

        Returns:
            on an iteration that reports the norms of the gradient and of the change, unread.
        """
        if not any(parameter.grad is not None for parameter in self.parameters):
            return {}
        if alone != self.alone:
            self.optimizer.state.clear()
            self.alone = alone
        before = [parameter.detach().clone() for parameter in self.parameters] if reports else []
        if self.clipping.max_norm or reports:
            scaler.unscale_(self.optimizer)
        norm = self.clipping(self.parameters, wanted=reports)
        scaler.step(self.optimizer)
        self.optimizer.zero_grad(set_to_none=True)
        if not reports:
            return {}
        change = torch._foreach_sub([parameter.detach() for parameter in self.parameters], before)
        return {"adversary/gradient_norm": norm, "adversary/update_norm": torch.nn.utils.get_total_norm(change)}

    def state_dict(self) -> dict:
        """Return all of it but the modules, which the model's state holds, and the window. Raises NonFiniteLoss."""
        return {
            "optimizer": self.optimizer.state_dict() if self.optimizer else None,
            "clipping": self.clipping.state_dict(),
            "steps": self.steps,
            "alone": self.alone,
        }

    def load_state_dict(self, state: dict) -> None:
        if self.optimizer:
            self.optimizer.load_state_dict(state["optimizer"])
        self.clipping.load_state_dict(state["clipping"])
        self.steps, self.alone = state["steps"], state["alone"]
