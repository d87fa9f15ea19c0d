"""NWD matching: regions are matched to objects by the distance of Gaussians, so that tiny objects find regions.

Letters: N images, M objects, A regions of one image.
"""

import torch
from torch import Tensor

from ...modeling.defaults import ThresholdMatcher
from ._gaussians import check_size, normalized_wasserstein


class NWDMatching(ThresholdMatcher):
    """Thresholds on the normalized Wasserstein distance in place of the IoU.

    Slot: matcher
    Imbalance: scale
    Home: retinanet; made for dense heads: the source has it in the RPN, `nwd_matching@rpn`
    Source: Wang, Xu, Yang, Yu, 2021, arXiv 2110.13389, section 3.3 (label assignment)
    Neutral: none; IoU is no case of it
    Differs: the thresholds are those of the matcher that it replaces, as in the source (0.7 and 0.3 in the RPN, 0.5 and
        0.4 in RetinaNet); `size` comes from the data where the authors type AI-TOD's 12.8; the IoU that is reported of
        a region stays the IoU

        NWD = exp(-sqrt(dx^2 + dy^2 + (dw^2 + dh^2) / 4) / size)

    The offset of half a grid cell costs a tiny object all of its IoU and little of this. A large object must be met
    within fewer pixels than its IoU would ask for: large objects lose regions.

    Args:
        foreground, background, best_for_each_object: see ThresholdMatcher, of NWD.
        size: the constant C, pixels: the mean sqrt(area) of the objects at the network's input.

    Raises:
        ValueError: size not above 0, thresholds as for ThresholdMatcher.

    Example:
        >>> NWDMatching(size=20.0).foreground
        0.5
    """

    geometry = True

    def __init__(
        self,
        foreground: float = 0.5,
        background: float = 0.5,
        best_for_each_object: bool = False,
        size: float = 12.8,
    ):
        super().__init__(foreground, background, best_for_each_object)
        self.size = check_size(size)

    def __call__(self, iou: Tensor, valid: Tensor, *, regions: Tensor, levels: Tensor, objects: Tensor):  # type: ignore[override]
        """iou (N, M, A), valid (N, M), regions (N, A, 4), objects (N, M, 4) -> object, IoU, kind (N, A)."""
        nwd = normalized_wasserstein(objects.unsqueeze(2), regions.unsqueeze(1), self.size)
        index, _, kind = super().__call__(torch.where(valid.unsqueeze(2), nwd, 0.0), valid)
        return index, iou.gather(1, index.unsqueeze(1)).squeeze(1), kind
