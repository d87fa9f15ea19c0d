"""LWS: of a finished run one factor for each row of the classifier learns, with class-aware sampling.

    imbdet train --config baselines/faster_rcnn_shapes --remedy lws train.init_checkpoint=output/run/best.pth

Expect little. Published on LVIS v1 (Mask R-CNN R50, the code of EQL v2): 16.1 to 17.0.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.class_aware_sampling import ClassAwareSampling
from imbdet.remedies.class_fg_fg.lws import LWS

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.roi_heads.classifier = L(LWS)(_partial_=True)
    cfg.dataloader.train.image_sampler = L(ClassAwareSampling)(max_repeats=None, _partial_=True)
    cfg.train.freeze = ["*", "!*.cls_score.scale"]
    cfg.train.reset = ["*.cls_score.scale"]
