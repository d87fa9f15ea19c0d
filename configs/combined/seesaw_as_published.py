"""Seesaw loss as published (Wang et al., 2021, arXiv 2008.10032): with a cosine classifier of temperature 20.

The norms of a class's weights grow with its frequency, and would undo what the loss does. Judged on 300 detections an
image from a score of 0.0001 on. Repeat factors are published as an addition: `--remedy repeat_factor_sampling`.
Missing here: the mask head, and its cosine classifier of masks; pictures of 640 to 800 pixels drawn at random;
24 epochs on LVIS v1. The fair minus side is `--remedy objectness_softmax` with the same classifier and thresholds.
"""

from imbdet.config import LazyCall as L
from imbdet.modeling.heads import Cosine

baseline = "baselines/faster_rcnn_shapes"
remedies = ["seesaw"]


def apply(cfg):
    cfg.model.roi_heads.classifier = L(Cosine)(_partial_=True, tau=20.0)
    cfg.model.score_threshold, cfg.model.max_detections = 1e-4, 300
