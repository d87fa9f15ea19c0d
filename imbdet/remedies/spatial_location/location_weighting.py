"""Location weighting: classes whose objects lie in few places weigh more than those that lie everywhere.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...slots import Weighting
from ...structures import Matched


class LocationWeighting(nn.Module, Weighting):
    """Multiplies the classification loss of a foreground region by a weight of how its class is spread in the pictures.

    Slot: weighting
    Imbalance: spatial_location
    Home: either
    Source: the measure of Alexandridis et al., 2025, arXiv 2410.11774 (FRACAL), section 3.3
    Neutral: LocationWeighting(power=0), which weighs all regions 1
    Differs: FRACAL divides scores by the measure after training; this divides the training loss by it, for which there
        is no publication. Background keeps the weight 1, the mean over all boxes is 1, and `limit` holds back weights
        of classes with few boxes, whose dimension is noise

    With D_c the fractal dimension of the centers of class c, 1 (a line) to 2 (evenly spread), and n_c its boxes:

        w_c = D_c^-power, scaled to sum n_c w_c = sum n_c, at most `limit`

    Args:
        dimensions: (K,) D_c, 1 or more. counts: (K,) train boxes of each class.
        power: 0 or more; 2 is FRACAL's lambda, with which a class on a line weighs up to four times an even one.
        limit: the largest weight, 1 or more.

    Raises:
        ValueError: a number out of range, lists of different length.

    Example:
        >>> LocationWeighting([2.0, 1.0], [10, 10], power=1.0).table.tolist()
        [0.6666666865348816, 1.3333333730697632, 1.0]
    """

    table: Tensor

    def __init__(self, dimensions: Sequence[float], counts: Sequence[int], power: float = 2.0, limit: float = 4.0):
        super().__init__()
        if power < 0 or limit < 1:
            raise ValueError(f"need power of 0 or more and limit of 1 or more, got power {power} and limit {limit}")
        d, n = torch.as_tensor(dimensions).double(), torch.as_tensor(counts).double()
        if d.shape != n.shape or (len(d) and d.min() < 1):
            raise ValueError(f"dimensions are 1 or more, one for each of {len(n)} classes, got {d.tolist()}")
        weights = d**-power
        weights = (weights * n.sum() / (n * weights).sum().clamp(min=1e-12)).clamp(max=limit)
        weights = torch.where(n > 0, weights, 1.0)
        self.register_buffer("table", torch.cat([weights, weights.new_ones(1)]).float(), persistent=False)

    def forward(self, classification: Tensor, regression: Tensor, matched: Matched):
        """Map (R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        weights = self.table[matched.labels.where(matched.considered, matched.num_classes)]
        return (weights, torch.ones_like(regression)), {"location_weighting/mean": weights.mean()}
