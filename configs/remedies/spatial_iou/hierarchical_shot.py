"""Hierarchical Shot Detector on the baseline's backbone and neck: boxes are regressed, then classified, twice.

Expect better AP at high IoU, as labels and features are those of the regressed boxes. `model.second=null` is one step,
`model.shift=false` the control that classifies first, `model.enhance=false` leaves the features as they are.
"""

import math

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.modeling.anchors import AnchorGrid
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import SmoothL1, SoftmaxCrossEntropy
from imbdet.remedies.spatial_iou._hierarchical_shot_step import BestBoxMatcher, ForegroundOr, HardNegatives, ShotStep
from imbdet.remedies.spatial_iou.hierarchical_shot import HierarchicalShotDetector

baseline = "baselines/retinanet_shapes"


def step(regression, classification, weights):
    """The two IoUs from which on a box counts, and the inverse of the deltas' variances."""
    return L(ShotStep)(
        regression_matcher=L(BestBoxMatcher)(foreground=regression),
        classification_matcher=L(BestBoxMatcher)(foreground=classification),
        box_coder=L(BoxCoder)(weights=weights),
        regression=L(SmoothL1)(beta=1.0),
        classification=L(SoftmaxCrossEntropy)(),
        weighting=L(HardNegatives)(ratio=3.0, stand_in=15),
        normalizer=L(ForegroundOr)(stand_in="${..weighting.stand_in}"),
    )


def apply(cfg):
    sizes = [math.prod(level) ** (1 / len(level)) for level in cfg.model.anchors.sizes]
    own = OmegaConf.to_container(cfg.model, resolve=False)
    replaced = ("_target_", "anchors", "criterion", "convs", "candidates_per_level")
    cfg.model = L(HierarchicalShotDetector)(
        **{key: value for key, value in own.items() if key not in replaced},
        anchors=L(AnchorGrid)(sizes=[[size] for size in sizes], ratios=cfg.model.anchors.ratios, offset=0.5),
        first=step(0.5, 0.6, [10.0, 10.0, 5.0, 5.0]),
        second=step(0.5, 0.7, [20.0, 20.0, 10.0, 10.0]),
        shift=True,
        enhance=True,
        objectness=0.01,
        max_candidates=cfg.model.candidates_per_level * len(sizes),
    )
