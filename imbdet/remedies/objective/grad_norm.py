"""GradNorm: the weights of the two losses follow the sizes of their gradients, and how far each has been learned.

Letters: P points where a classification and a box loss part; P * 2 losses.
"""

import torch
from torch import Tensor, nn

from ...modeling.running_state import RunningState
from ...slots import Objective

MOST = 8  #: points that are told apart, e.g. three stages of a cascade are three


class GradNorm(RunningState, Objective):
    """Moves the weights of the two losses of each head until their gradients are as large as their progress asks for.

    Slot: objective
    Imbalance: objective
    Home: either
    Source: Chen et al., 2018, arXiv 1711.02257, algorithm 1
    Neutral: GradNorm(rate=0)
    Differs: the weights move by plain descent of their own, in logarithms so that they stay positive; losses of the
        RPN, which has no layer of its own before them, keep the factor 1. The first loss that is not 0 stands for L(0)

    At the last parameters W that both losses learn from (the last layer of the box head, the neck of RetinaNet), with
    g_i the norm of the gradient of L_i, G_i = w_i g_i, and l_i = L_i / L_i(0) divided by the mean of both:

        log w_i <- log w_i - rate (G_i - mean(G) l_i^alpha) / mean(G),  then w is scaled to a sum of 2

    It takes the gradient from either loss back to W once more in every step, which costs more than a tenth of one: it
    is here as the published method; `rank_sort_ratio` is the cheap one.

    Args:
        rate: >= 0; how fast weights move. alpha: >= 0; 1.5 in the paper. 0 asks for equal gradients, a larger one for
            larger gradients of what is learned slowly.

    Raises:
        ValueError: a number below 0.

    Example:
        >>> GradNorm().log_weights.shape
        torch.Size([8, 2])
    """

    log_weights: Tensor
    first: Tensor

    def __init__(self, rate: float = 0.025, alpha: float = 1.5):
        super().__init__()
        if rate < 0 or alpha < 0:
            raise ValueError(f"rate and alpha must not be negative, got {rate} and {alpha}")
        self.rate, self.alpha = rate, alpha
        self._points: dict = {}
        self.register_buffer("log_weights", torch.zeros(MOST, 2, dtype=torch.float64))
        self.register_buffer("first", torch.zeros(MOST, 2, dtype=torch.float64))

    def build(self, points: dict[str, tuple[str, str, list[nn.Parameter]]]) -> None:
        """Take the detector's `balance_points`."""
        self._points = points

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """{name: loss} -> {name: weighted loss}, stats."""
        weighted, stats, now = dict(losses), {}, self.first.new_zeros(4, MOST, 2)
        weights = self.log_weights.exp()
        for p, (cls, box, parameters) in enumerate(list(self._points.values())[:MOST]):
            learned = [parameter for parameter in parameters if parameter.requires_grad]
            for i, name in enumerate((cls, box)):
                if name not in losses:
                    continue
                weighted[name] = losses[name] * weights[p, i].to(losses[name].dtype)
                stats[f"grad_norm/{name}"] = weights[p, i]
                value, norm = losses[name].detach().double(), _norm(losses[name], learned).double()
                there = (value > 0) & (norm > 0)
                now[:, p, i] = torch.stack((value * there, norm * there, there.double(), there.double()))
        self.collect(now=now)
        return weighted, stats

    def fold(self, now: Tensor) -> None:
        """now (4, P, 2): sums of losses, of norms, and how many there were of each."""
        value, norm = now[:2] / now[2:].clamp(min=1)
        first = torch.where((self.first == 0) & (value > 0), value, self.first)
        weights, both = self.log_weights.exp(), (norm > 0).all(dim=1, keepdim=True)
        size = weights * norm
        mean = size.mean(dim=1, keepdim=True)
        left = value / first.where(first > 0, 1.0)
        wanted = mean * (left / left.mean(dim=1, keepdim=True).where(both, 1.0)) ** self.alpha
        moved = self.log_weights - self.rate * (size - wanted) / mean.where(both, 1.0)
        moved = moved - moved.exp().mean(dim=1, keepdim=True).log()
        self.first.copy_(first)
        self.log_weights.copy_(torch.where(both, moved, self.log_weights))


def _norm(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The L2 norm of the loss's gradient at the parameters; 0 where it has none. The graph stays."""
    if not (loss.requires_grad and parameters):
        return loss.new_zeros(())
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    reached = [gradient.float() for gradient in found if gradient is not None]
    return torch.nn.utils.get_total_norm(reached) if reached else loss.new_zeros(())
