"""Tau normalization of the classifier's weights at test: a warning example.

It needs no training: `imbdet evaluate --run DIR --remedy tau_norm --tune-on train --split test`. Published for image
classification; on LVIS 0.5 it lowers AP from 21.0 to 11.0 (Li et al. 2020).
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.tau_norm import TauNorm

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.roi_heads.classifier = L(TauNorm)(_partial_=True, tau=1.0)
