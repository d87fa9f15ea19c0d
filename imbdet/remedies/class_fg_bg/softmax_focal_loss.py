"""Softmax focal loss: the focal factor on the K + 1 logits of an RoI head.

Letters: R regions, K classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...modeling.defaults import SoftmaxCrossEntropy
from ...slots import Classification
from ...structures import Matched
from .focal_loss import alpha_of_classes, check_gamma


class SoftmaxFocalLoss(nn.Module, Classification):
    """Focal loss over the softmax of K classes and background.

    Slot: classification
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Lin, Goyal, Girshick, He, Dollar, 2017, arXiv 1708.02002, equation 4, put on a softmax
    Neutral: SoftmaxFocalLoss(gamma=0, alpha=None), which is the softmax cross entropy of RoI heads
    Differs: from the paper, which uses sigmoids: background is a logit of its own here, as in Faster R-CNN. There is
        no factor alpha by default, as the sampling of RoI heads has balanced foreground and background before

    With p the probability of the region's own label, background included:

        FL = alpha_t (1 - p)^gamma (-log p),    alpha_t = alpha for foreground, 1 - alpha for background

    Args:
        gamma: >= 0. alpha, class_names, other_alpha: as in FocalLoss; with a mapping background takes 1 - other_alpha.
        normalizer: what the sum is divided by; None takes the criterion's.

    Example:
        >>> import torch
        >>> from imbdet.remedies.class_fg_bg.softmax_focal_loss import SoftmaxFocalLoss
        >>> SoftmaxFocalLoss().scores(torch.zeros(1, 4)).tolist()
        [[0.25, 0.25, 0.25]]
    """

    alpha: Tensor | None
    plain: SoftmaxCrossEntropy

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Mapping[str, float] | None = None,
        normalizer=None,
        class_names: Sequence[str] = (),
        other_alpha: float = 0.25,
    ):
        super().__init__()
        check_gamma(gamma)
        self.gamma = gamma
        self.normalizer = normalizer
        table = alpha_of_classes(alpha, class_names, other_alpha)
        if table is not None and table.dim() == 1:
            table = torch.cat((table, table.new_tensor([1 - other_alpha])))
        self.register_buffer("alpha", table, persistent=False)
        self.plain = SoftmaxCrossEntropy()

    def num_logits(self, num_classes: int) -> int:
        return num_classes + 1

    def initial_bias(self, num_classes: int) -> float:
        return 0.0

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 1) -> (R,)."""
        loss, _ = self.plain(logits, matched)  # -log p
        if self.gamma:
            # 1 - p as -expm1(log p): at p near 1 the difference would lose all digits
            loss = loss * (-torch.expm1(-loss)).clamp(min=torch.finfo(loss.dtype).tiny) ** self.gamma
        if self.alpha is not None:
            labels = matched.labels.clamp(min=0)
            if self.alpha.dim():
                loss = loss * self.alpha[labels]
            else:
                loss = loss * torch.where(matched.foreground, self.alpha, 1 - self.alpha)
        return loss, {}

    def scores(self, logits: Tensor) -> Tensor:
        return self.plain.scores(logits)

    def background(self, logits: Tensor) -> Tensor:
        return self.plain.background(logits)
