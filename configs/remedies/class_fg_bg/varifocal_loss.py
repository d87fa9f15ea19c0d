"""Varifocal loss: scores are trained to be the IoU of the box, and foreground counts by that IoU.

Expect better AP at high IoU, as detections are ranked by how well their boxes fit. On RoI heads K sigmoids replace the
softmax, and the sum is divided by the foreground regions.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import Foreground
from imbdet.remedies.class_fg_bg.varifocal_loss import VarifocalLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    two_stage = "roi_heads" in cfg.model
    criterion_of(cfg).classification = L(VarifocalLoss)(
        alpha=0.75, gamma=2.0, prior=0.01, normalizer=L(Foreground)() if two_stage else None
    )
