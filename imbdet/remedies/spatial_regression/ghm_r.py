"""GHM-R: errors that are common in the batch count less, so that each size of gradient gets the same share.

Letters: R regions, B bins of the gradient's size.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Regression
from ...structures import Matched


class GHMR(RunningState, Regression):
    """A smooth absolute error, divided by how many errors of the batch have a gradient of that size.

    Slot: regression
    Imbalance: spatial_regression
    Home: retinanet; made for dense heads, whose bins hold hundreds of boxes
    Source: Li, Liu, Wang, 2019, arXiv 1811.05181 (GHM-R: authentic smooth L1, gradient density, unit regions, moving
        average)
    Neutral: GHMR(mu=1e-6, bins=1, momentum=0), which is L1, the baseline, to 1e-6 an error
    Differs: a bin's first count is taken whole, where the authors' running count starts at 0 and so the first weights
        are 1 / (1 - momentum) too large; as in their code, a bin that is empty in a batch keeps its count, and the
        weights are divided by the bins that are not empty, so that their mean is 1. The authors' loss weight 10 divides
        by four deltas a box, which here is 2.5 on RetinaNet. On RoI heads, where none is published, the weight is 1 and
        mu ten times larger, as their deltas are in units of a tenth

    With the error x of each delta of the P foreground regions, g = |x| / sqrt(x^2 + mu^2) in 0..1 the size of its
    gradient, sorted into B bins, S_b the running count of a bin and n the bins that are not empty:

        L = sum over the four deltas of 4 P / (n S_b(g)) (sqrt(x^2 + mu^2) - mu)
        S_b <- momentum S_b + (1 - momentum) count_b

    The weights have no gradient. The counts are a buffer: they resume with a checkpoint, and only training moves them.

    Args:
        mu: > 0; about where the absolute error begins, in units of the weighted deltas. 0.02 in the paper.
        bins: B; 10 in the paper. momentum: of the counts, 0..1 exclusive; 0.7 in the authors' configs, 0 is the batch
            alone.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> round(GHMR()(torch.tensor([[1.0, 0, 0, 0]]), m, BoxCoder())[0].item(), 4)  # 4 / (2 * 1) (1.0002 - 0.02)
        1.9604
    """

    counts: Tensor

    def __init__(self, mu: float = 0.02, bins: int = 10, momentum: float = 0.7):
        super().__init__()
        if mu <= 0:
            raise ValueError(f"mu must be positive, got {mu}")
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in 0..1, below 1, got {momentum}")
        self.mu = mu
        self.bins = bins
        self.momentum = momentum
        self.register_buffer("counts", torch.zeros(bins))

    def forward(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """Map deltas (R, 4) -> (R,)."""
        error = deltas - box_coder.encode(matched.boxes, matched.targets)
        length = (error.square() + self.mu**2).sqrt()
        with torch.no_grad():
            weights = self.weights(error.abs() / length, matched.foreground)
        return (weights * (length - self.mu)).sum(dim=1), {}

    def weights(self, size: Tensor, foreground: Tensor) -> Tensor:
        """Map size of each gradient (R, 4) in 0..1, foreground (R,) -> (R, 4); the mean over the foreground is
        about 1.
        """
        index = (size * self.bins).long().clamp(0, self.bins - 1)
        counted = foreground.unsqueeze(1).expand_as(size).to(self.counts.dtype)
        now = torch.zeros_like(self.counts).index_add_(0, index.flatten(), counted.flatten())
        now = self.collect(counts=now)["counts"]
        filled = (now > 0).sum().clamp(min=1)
        return (now.sum() / (filled * self._after(now).clamp(min=1)))[index]

    def fold(self, counts: Tensor) -> None:
        self.counts.copy_(self._after(counts))

    def _after(self, now: Tensor) -> Tensor:
        """The running count with `now` (B,) in it; a bin that is empty in them keeps its own."""
        running = self.momentum * self.counts + (1 - self.momentum) * now
        return torch.where(now > 0, torch.where(self.counts > 0, running, now), self.counts)
