"""IoU-balanced negative sampling: background that overlaps objects is drawn as often as background that does not.

Letters: N images, A regions of one image.
"""

from torch import Tensor

from ...modeling.defaults import RandomSampling, choose
from ...structures import Matched


class IoUBalancedSampling(RandomSampling):
    """Draws the background in equal parts from bins of IoU; the foreground at random.

    Slot: region_sampler
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Pang, Chen, Shi, Feng, Ouyang, Lin, 2019, arXiv 1904.02701, section 3.1, equation 2
    Neutral: IoUBalancedSampling(bins=1), which draws at random
    Differs: from the authors' code, whose bins end at the highest IoU of any region (1 once the objects are appended,
        so that the last bin is empty and only [1/3, 0.5) is favored) and which keeps a state between images: the
        bins cover [0, limit), as in the paper, and nothing is remembered

    Of n background regions wanted in an image, each of the `bins` equal parts of [0, limit) gives n / bins (rounded
    down) at random; what is missing to n is drawn at random from the rest.

    Args:
        per_image, fraction: as in RandomSampling.
        bins: 3 in the paper; its results hardly differ for 2 to 5.
        limit: upper end of the last bin, the IoU from which a region is foreground.

    Example:
        >>> from imbdet.remedies.class_fg_bg.iou_balanced_sampling import IoUBalancedSampling
        >>> IoUBalancedSampling(bins=2).edges
        [0.0, 0.25, 0.5]
    """

    def __init__(self, per_image: int = 512, fraction: float = 0.25, bins: int = 3, limit: float = 0.5):
        super().__init__(per_image, fraction)
        if bins < 1 or not 0 < limit <= 1:
            raise ValueError(f"need bins >= 1 and limit in 0..1, got {bins} and {limit}")
        self.edges = [limit * i / bins for i in range(bins + 1)]

    def negatives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        iou = matched.iou.view(matched.num_images, -1)
        bins = len(self.edges) - 1
        quota = count.div(bins, rounding_mode="floor")
        chosen = candidates.new_zeros(candidates.shape)
        for low, high in zip(self.edges, self.edges[1:], strict=False):
            chosen = chosen | choose(candidates & (iou >= low) & (iou < high), quota, most // bins)
        return chosen | choose(candidates & ~chosen, count - chosen.sum(dim=1, keepdim=True), most)
