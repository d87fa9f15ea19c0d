"""Focal loss on a softmax: RoI heads keep their K + 1 logits, and sure regions lose weight.

Expect little where regions are sampled 1:3 already; on long-tailed data published results on two-stage detectors are
negative. The size of the loss falls with gamma: compare at equal size.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_names
from imbdet.remedies.class_fg_bg.softmax_focal_loss import SoftmaxFocalLoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(SoftmaxFocalLoss)(
        gamma=2.0, alpha=None, class_names=L(class_names)(records="${data.train}")
    )
