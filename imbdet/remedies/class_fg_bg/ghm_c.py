"""GHM-C: the gradient harmonizing mechanism for classification; examples of a crowded gradient norm count less.

Letters: R regions, K classes, B bins.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import SigmoidLogits, one_hot
from ...modeling.running_state import RunningState
from ...slots import Normalizer
from ...structures import Matched


class Elements(Normalizer):
    """Normalizer: regions that take part times classes, so that weights of mean 1 give a mean."""

    def __call__(self, matched: Matched) -> Tensor:
        return (matched.considered.sum() * matched.num_classes).clamp(min=1).float()


class GHMC(RunningState, SigmoidLogits):
    """Sigmoid cross entropy whose examples are weighed by the inverse density of their gradient norm.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet; made for dense heads, whose bins hold thousands of logits; on sampled regions some hold a handful,
        each with a full share of the gradient
    Source: Li, Liu, Wang, 2019, arXiv 1811.05181, equations 3 to 9
    Neutral: GHMC(bins=1, momentum=0), which is the mean sigmoid cross entropy over regions and classes
    Differs: the moving average of a bin starts with the first count and not with 0, which would multiply the first
        losses by 1 / (1 - momentum)

    An example is one of the R K logits, g = |sigmoid(x) - t| the norm of its gradient. [0, 1] is cut into B bins; with
    c the (moving average of the) number of examples in the bin of g, T the number of all and n the number of bins that
    are not empty:

        GHM-C = (1 / T) sum w CE(x, t),    w = T / (n c)

    so every bin that is not empty has the same share of the gradient: very easy examples, and outliers, lose weight.

    Args:
        bins: B; 30 in the paper. momentum: of the moving average, 0 to 1 exclusive; 0.75 in the paper.
        prior: probability of every class before training.

    Example:
        >>> from imbdet.remedies.class_fg_bg.ghm_c import GHMC
        >>> GHMC(bins=10).counts.shape
        torch.Size([10])
    """

    counts: Tensor

    def __init__(self, bins: int = 30, momentum: float = 0.75, prior: float = 0.01):
        super().__init__()
        if bins < 1 or not 0 <= momentum < 1:
            raise ValueError(f"need bins >= 1 and momentum in 0..1 exclusive, got {bins} and {momentum}")
        self.set_prior(prior)
        self.bins = bins
        self.momentum = momentum
        self.normalizer = Elements()
        self.register_buffer("counts", torch.zeros(bins))

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        truth = one_hot(matched.labels, logits.shape[1], logits.dtype)
        with torch.no_grad():
            gradient = (logits.sigmoid() - truth).abs()
            bin_of = (gradient * self.bins).long().clamp(max=self.bins - 1)
            considered = matched.considered.unsqueeze(1).expand_as(bin_of)
            now = torch.zeros_like(self.counts).scatter_add_(0, bin_of.reshape(-1), considered.reshape(-1).float())
            now = self.collect(counts=now)["counts"]
            weights = self._weights(now)
        loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return (loss * weights[bin_of]).sum(dim=1), {"ghm_c/bins": (now > 0).sum()}

    def _weights(self, now: Tensor) -> Tensor:
        """Counts of this batch (B,) -> weight of each bin (B,), 0 for the empty ones."""
        filled, average = now > 0, self._after(now)
        weights = now.sum() / (average.clamp(min=torch.finfo(now.dtype).tiny) * filled.sum().clamp(min=1))
        return torch.where(filled, weights, 0.0)

    def fold(self, counts: Tensor) -> None:
        if self.momentum:
            self.counts.copy_(self._after(counts))

    def _after(self, now: Tensor) -> Tensor:
        """The moving average with the counts `now` (B,) in it; a bin that is empty in them keeps its own."""
        average = torch.where(self.counts > 0, self.momentum * self.counts + (1 - self.momentum) * now, now)
        return torch.where(now > 0, average, self.counts)
