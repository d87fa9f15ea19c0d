"""FreeAnchor: which of the 50 anchors that overlap an object most learns it is found in training, by likelihood.

Expect more of objects whose center is not where their content is, and of crowded and thin ones. Deltas get the factors
of RoIs, as in the source. Published on RetinaNet R50: 38.7 (mmdetection).
"""

from imbdet.config import LazyCall as L
from imbdet.config import rebuilt
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_location.free_anchor import FreeAnchor

baseline = "baselines/retinanet_shapes"
REPLACED = ["matcher", "region_sampler", "classification", "weighting", "coupling", "normalizer"]


def apply(cfg):
    criterion = rebuilt(cfg.model.criterion, FreeAnchor, drop=[*REPLACED, "regression_weight"], bag=50, threshold=0.6)
    criterion.alpha, criterion.gamma, criterion.prior = 0.5, 2.0, 0.01
    criterion.regression = L(SmoothL1)(beta=0.11)
    criterion.regression_weight = 0.75
    criterion.box_coder.weights = [10.0, 10.0, 5.0, 5.0]
    cfg.model.criterion = criterion
