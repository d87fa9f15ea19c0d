"""Dynamic label assignment: the IoU from which a proposal is foreground rises with the proposals.

Letters: N images, M objects, A regions of one image.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Matcher


class DynamicLabelAssignment(RunningState, Matcher):
    """One threshold between foreground and background, moved to the IoU that the better proposals reach.

    Slot: matcher
    Imbalance: spatial_iou
    Home: faster_rcnn
    Source: Zhang, Chang, Ma, Wang, Chen, 2020, arXiv 2004.06002, section 4.1 (Dynamic R-CNN), and the authors' code
    Neutral: DynamicLabelAssignment(initial=0.5, topk=a number that no image has of good proposals), as the threshold
        never falls below `initial`: that is ThresholdMatcher(0.5, 0.5)
    Differs: the other half of Dynamic R-CNN is `dynamic_smooth_l1`; the RPN's suppression at 0.85 is not part of it.
        `topk` is for a thousand proposals an image, so the config takes its share of as many as there are. Images
        without objects are left out of the mean

    After every `interval` steps, over the images of these steps that have objects:

        threshold = max(initial, mean of the topk-th largest IoU of an image's proposals with their objects)

    Args:
        initial: IoU in 0..1, 0.4 in the source. topk: 1 or more, 75 in the source. interval: steps, 100 in the source.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> DynamicLabelAssignment().threshold.item()
        0.4
    """

    threshold: Tensor
    total: Tensor
    images: Tensor
    steps: Tensor

    def __init__(self, initial: float = 0.4, topk: int = 75, interval: int = 100):
        super().__init__()
        if not 0 <= initial <= 1 or topk < 1 or interval < 1:
            raise ValueError(
                f"need initial in 0..1, topk and interval of 1 or more, got {initial}, {topk} and {interval}"
            )
        self.initial, self.topk, self.interval = float(initial), topk, interval
        self.register_buffer("threshold", torch.tensor(self.initial, dtype=torch.float64))
        self.register_buffer("total", torch.zeros((), dtype=torch.float64))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map iou (N, M, A), valid (N, M) -> object (N, A), IoU (N, A), kind (N, A): 1 or 0."""
        best, index = iou.max(dim=1)
        reached = best.topk(min(self.topk, best.shape[1]), dim=1).values[:, -1].double()
        there = valid.any(dim=1)
        self.collect(total=torch.where(there, reached, 0.0).sum(), images=there.sum())
        kind = (best >= self.threshold).to(torch.int8) * there.unsqueeze(1)
        return index, best, kind

    def fold(self, total: Tensor, images: Tensor) -> None:
        super().fold(total=total, images=images)
        self.steps += 1
        due = self.steps >= self.interval
        now = (self.total / self.images.clamp(min=1)).clamp(min=self.initial)
        self.threshold.copy_(torch.where(due & (self.images > 0), now, self.threshold))
        for buffer in (self.total, self.images, self.steps):
            buffer.copy_(torch.where(due, torch.zeros_like(buffer), buffer))
