"""Tau normalization: at test, each logit's weights are divided by a power of their length. A warning example.

Letters: R regions, C logits.
"""

from torch import Tensor
from torch.nn import functional as F

from ...modeling.heads import Linear
from ._class_shift import non_negative


class TauNorm(Linear):
    """A linear classifier that learns as ever, whose weights at test are divided by a power of their length.

    Slot: classifier
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Kang et al., 2020, arXiv 1910.09217
    Neutral: TauNorm(channels, logits, tau=0), which is Linear
    Differs: written for image classification, without a bias; here it stays, as most of what tells background from
        objects may lie in it. The row of background is divided, too

        z_c = w_c x / ||w_c||^tau + b_c        (in training tau is 0)

    It is here as a warning: what rests on the length of weights in classification does not carry over to detection.
    With it alone Li et al. (2020, arXiv 2006.10408, table of LVIS 0.5) find AP 11.0 where the baseline has 21.0.

    Args:
        channels, logits: of the layer. tau: >= 0, 1 gives all rows the same length.

    Example:
        >>> import torch
        >>> layer = TauNorm(2, 2, tau=1.0).eval()
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 1.0]])), layer.bias.data.zero_()
        >>> [round(z, 4) for z in layer(torch.ones(1, 2))[0].tolist()]  # 7 / 5, 1 / 1
        [1.4, 1.0]
    """

    tunable = {"tau": (0.0, 0.25, 0.5, 0.75, 1.0)}

    def __init__(self, channels: int, logits: int, tau: float = 1.0):
        super().__init__(channels, logits)
        non_negative(tau=tau)
        self.tau = tau

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, channels) -> (R, C)."""
        if self.training or not self.tau:
            return super().forward(x)
        return F.linear(x, self.weight / self.weight.norm(dim=1, keepdim=True).clamp(min=1e-12) ** self.tau, self.bias)
