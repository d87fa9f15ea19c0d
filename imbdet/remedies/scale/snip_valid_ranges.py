"""Valid ranges: objects that are too small or too large for the detector at this scale of the picture do not teach it.

Letters: N images, M objects, A regions of one image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...modeling.defaults import ThresholdMatcher


class SNIPValidRanges(ThresholdMatcher):
    """A matcher by thresholds for which objects outside a range of sizes are neither object nor background.

    Slot: matcher
    Imbalance: scale
    Home: either
    Source: Singh and Davis, 2018, arXiv 1711.08189, section 5.1 (SNIP)
    Neutral: SNIPValidRanges(low=0, high=inf), which is ThresholdMatcher
    Differs: SNIP has a range for each of three scales of the picture, this has one, in pixels of the network's input,
        for whatever scale the picture comes in: use it with a multi-scale `augment`, in which each object comes into
        the range at some scale. At test SNIP drops boxes outside the range of their scale and merges the scales, which
        is not part of it; without both the detector does not learn objects outside of the range at all

    With s = sqrt(width * height) of an object at the network's input:

        low <= s < high: as ThresholdMatcher;  else: regions with IoU > `ignore` that are not foreground are ignored

    Args:
        foreground, background, best_for_each_object: see ThresholdMatcher.
        low, high: pixels, 0 <= low < high.
        ignore: IoU in 0..1 with an object out of range, from which a region is no background; 0.3 in the source.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> SNIPValidRanges(low=16, high=64).ignore
        0.3
    """

    geometry = True

    def __init__(
        self,
        foreground: float = 0.5,
        background: float = 0.5,
        best_for_each_object: bool = False,
        low: float = 0.0,
        high: float = float("inf"),
        ignore: float = 0.3,
    ):
        super().__init__(foreground, background, best_for_each_object)
        if not 0 <= low < high or not 0 <= ignore <= 1:
            raise ValueError(f"need 0 <= low < high and ignore in 0..1, got low {low}, high {high}, ignore {ignore}")
        self.low, self.high, self.ignore = low, high, ignore

    def __call__(self, iou: Tensor, valid: Tensor, *, regions: Tensor, levels: Tensor, objects: Tensor):  # type: ignore[override]
        """iou (N, M, A), valid (N, M), objects (N, M, 4) -> object, IoU, kind (N, A)."""
        size = (objects[..., 2:] - objects[..., :2]).clamp(min=0).prod(dim=-1).sqrt()
        inside = (size >= self.low) & (size < self.high)
        index, best, kind = super().__call__(iou * inside.unsqueeze(2), valid & inside)
        strayed = (iou * ~inside.unsqueeze(2)).amax(dim=1) > self.ignore
        return index, best, torch.where(strayed & (kind == 0), -1, kind)


def valid_range(limits: Sequence[float], end: int) -> float:
    """Map limits (2,) -> the lower (0) or upper (1) one, for a config."""
    return float(limits[end])
