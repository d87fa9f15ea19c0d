"""CARL: the box loss of a region teaches its score, so that regions that fit badly score less.

Letters: R regions, K classes, C logits a region, P positives.
"""

import torch
from torch import Tensor

from ...slots import Coupling, Normalizer
from ...structures import Matched


class CARL(Coupling):
    """Adds the box loss once more, weighted by the score of the region's class, with gradient to both.

    Slot: coupling
    Imbalance: objective
    Home: faster_rcnn
    Source: Cao et al., 2020, arXiv 1904.04821, section 4.2 (PISA), and the authors' code
    Neutral: CARL(weight=0), which adds 0
    Differs: only this part of PISA (`isr_p` is another); the box loss is the criterion's own, L1 by default, where the
        source takes smooth L1

    With p_i the probability of the region's class (softmax for K + 1 logits, sigmoid for K), L_i the box loss of
    positive i, both with gradient:

        c_i = (bias + (1 - bias) p_i)^k, scaled to a mean of 1;    loss = weight sum_i c_i L_i / normalizer

    Its gradient on p_i goes by how much L_i is above the mean weighted by c: scores of boxes that fit worse than the
    others fall, those of better ones rise.

    Args:
        normalizer: what the sum is divided by: sampled regions on RoI heads, foreground on dense heads in the source.
        k: 0 or more, 1 in the source. bias: 0..1, 0.2 in the source. weight: 1 in the source.

    Raises:
        ValueError: a number out of range; logits that are neither K nor K + 1.

    Example:
        >>> from imbdet.modeling.defaults import Considered
        >>> CARL(Considered()).bias
        0.2
    """

    def __init__(self, normalizer: Normalizer, k: float = 1.0, bias: float = 0.2, weight: float = 1.0):
        if k < 0 or not 0 <= bias <= 1 or weight < 0:
            raise ValueError(f"need k and weight of 0 or more, bias in 0..1, got k {k}, bias {bias}, weight {weight}")
        self.normalizer, self.k, self.bias, self.weight = normalizer, float(k), float(bias), float(weight)

    def __call__(self, logits: Tensor, outputs: Tensor, values: tuple[Tensor, Tensor], matched: Matched):
        """logits (R, C), values (R,), (R,) -> {"loss_carl": loss}, stats."""
        width, k = logits.shape[1], matched.num_classes
        if width not in (k, k + 1):
            raise ValueError(f"carl: {width} logits for {k} classes; it knows {k} (sigmoid) and {k + 1} (softmax)")
        scores = logits.sigmoid() if width == k else logits.softmax(dim=1)
        foreground = matched.foreground
        own = torch.where(foreground, matched.labels, 0).unsqueeze(1)
        weights = (self.bias + (1 - self.bias) * scores.gather(1, own).squeeze(1)) ** self.k * foreground
        scale = foreground.sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        loss = (weights * scale * values[1]).sum() * self.weight / self.normalizer(matched)
        return {"loss_carl": loss}, {}
