"""Seesaw loss: a frequent class pushes a rare one down less, unless it is the one that is wrongly predicted.

Compare with `objectness_softmax`, which has the same logits. Published with a cosine classifier, which is not part of
it: model.roi_heads.classifier={_target_: imbdet.modeling.heads.Cosine, _partial_: true, tau: 20}.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.seesaw import Seesaw

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(Seesaw)(num_classes="${model.num_classes}", p=0.8, q=2.0, eps=0.01)
