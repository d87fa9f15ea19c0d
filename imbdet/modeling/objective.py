"""How the losses of one step are weighed against each other: the baseline of the objective slot."""

from torch import Tensor, nn

from ..slots import Objective


class FixedWeights(nn.Module, Objective):
    """Slot `objective`: each loss times a constant; losses that are not named keep the factor 1.

    Args:
        weights: {name of a loss: factor}. A name that no loss has is an error at the first step.
    """

    def __init__(self, weights: dict[str, float] | None = None):
        super().__init__()
        self.weights = dict(weights or {})

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        unknown = sorted(set(self.weights) - set(losses))
        if unknown:
            raise ValueError(f"objective weights name {unknown}, but the losses are {sorted(losses)}")
        return {k: v * self.weights[k] if k in self.weights else v for k, v in losses.items()}, {}
