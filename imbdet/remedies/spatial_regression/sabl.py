"""Side-aware boundary localization: each side picks a bucket first, then an offset from it.

Letters: R regions, S buckets of a side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...slots import BoxForm
from ...structures import Matched
from .dfl import centers, outward


class SABL(BoxForm):
    """A bucket for each side by binary cross entropy, and smooth L1 of the offset from the nearest two.

    Slot: regression
    Imbalance: spatial_regression
    Home: faster_rcnn
    Source: Wang et al., 2020, arXiv 1912.04260, sections 3.2 and 3.3; values of the authors' code (mmdetection)
    Neutral: SABL(buckets=2, bucket_weight=0): one bucket a side and smooth L1 of each side's distance from it
    Differs: the bucketing alone. The source's head pools features for each side by attention and has two
        convolutional branches, where this is one layer on the baseline's head; its score is multiplied by how sure the
        buckets are, which the scores of a region do not see here; one set of buckets serves all classes there, here
        each class has its own as it has deltas; in RetinaNet it stands on one square anchor a cell

    The region is enlarged `scale` times and cut into `buckets` strips along each axis, of which the outer half belongs
    to the one side and the other half to the other: S = ceil(buckets / 2). With c_k the middle of strip k from outside,
    w its width, y the true place of a side:

        t_k = (c_k - y) / w,  the strip of smallest |t_k| is right, others with |t_k| < 1 are left out
        L = bucket_weight sum over sides and strips of BCE(p_k, right or not)
            + offset_weight sum over sides, the nearest strip and the second if its |t_k| < 1, of smooth_l1(o_k - t_k)

    The box has each side at c_k - o_k w of the strip of highest p_k.

    Args:
        buckets: 14 in the source. scale: 1.7 on RoI heads, 3 on RetinaNet in the source.
        beta: of smooth L1, 0.1 and 1/9 in the source.
        bucket_weight, offset_weight: of the sums; 1/4 (the mean over the sides) and 1 on RoI heads.

    Raises:
        ValueError: fewer than 2 buckets; scale or beta not above 0; a negative weight.

    Example:
        >>> import torch
        >>> zeros, region = torch.zeros(1, 56), torch.tensor([[0.0, 0, 140, 140]])
        >>> SABL(scale=1.0).boxes(zeros, region, None).tolist()  # undecided: the first strips, whose middle is 5 inside
        [[5.0, 5.0, 135.0, 135.0]]
    """

    def __init__(
        self,
        buckets: int = 14,
        scale: float = 1.7,
        beta: float = 0.1,
        bucket_weight: float = 0.25,
        offset_weight: float = 1.0,
    ):
        if buckets < 2 or min(scale, beta) <= 0:
            raise ValueError(f"need buckets >= 2, scale > 0 and beta > 0, got {buckets}, {scale} and {beta}")
        if min(bucket_weight, offset_weight) < 0:
            raise ValueError(f"bucket_weight and offset_weight must not be negative: {bucket_weight}, {offset_weight}")
        self.buckets, self.scale, self.beta = buckets, scale, beta
        self.bucket_weight, self.offset_weight = bucket_weight, offset_weight
        self.each = (buckets + 1) // 2
        self.num_values = 4 * 2 * self.each

    def boxes(self, outputs: Tensor, regions: Tensor, box_coder) -> Tensor:
        """Map outputs (..., 4 * 2 S) of regions (..., 4) -> boxes (..., 4)."""
        logits, offsets = self._parts(outputs)
        middles, inward = self._strips(regions)
        best = logits.argmax(dim=-1, keepdim=True)
        middle, offset = middles.expand_as(offsets).gather(-1, best), offsets.gather(-1, best)
        return middle.squeeze(-1) - offset.squeeze(-1) * inward.abs()

    def __call__(self, outputs: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """outputs (R, 4 * 2 S) -> (R,)."""
        logits, offsets = self._parts(outputs)
        middles, inward = self._strips(matched.boxes)
        target = (middles - matched.targets.unsqueeze(-1)) / inward.abs().unsqueeze(-1)  # (R, 4, S)
        distance = target.abs()
        near = distance.topk(min(2, self.each), dim=-1, largest=False).indices
        right = torch.zeros_like(distance).scatter(-1, near[..., :1], 1.0)
        second = torch.zeros_like(distance).scatter(-1, near[..., 1:], 1.0) * (distance < 1)
        entropy = F.binary_cross_entropy_with_logits(logits, right, reduction="none")
        entropy = (entropy * ((distance >= 1) | (right == 1))).sum(dim=(1, 2))
        error = F.smooth_l1_loss(offsets, target, reduction="none", beta=self.beta)
        error = (error * (right + second)).sum(dim=(1, 2))
        hit = (logits.detach().argmax(dim=-1) == near[..., 0]).float().mean(dim=1) * matched.foreground
        stats = {"sabl/right_bucket": hit.sum() / matched.foreground.sum().clamp(min=1)}
        return self.bucket_weight * entropy + self.offset_weight * error, stats

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """(..., 4 * 2 S, and values beside them) -> logits (..., 4, S), offsets (..., 4, S)."""
        logits, offsets = outputs[..., : self.num_values].unflatten(-1, (4, 2, self.each)).unbind(dim=-2)
        return logits, offsets

    def _strips(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Middles of the strips of x1, y1, x2, y2 from outside (..., 4, S); a strip's width, pointing inward (..., 4),
        pixels.
        """
        inward = -self.scale * outward(regions) / self.buckets
        edge = centers(regions) - inward * (self.buckets / 2)
        steps = torch.arange(self.each, device=regions.device) + 0.5
        return edge.unsqueeze(-1) + inward.unsqueeze(-1) * steps, inward
