"""EQL v2: negatives and positives of each class are weighed by the gradients that they have had so far.

K + 1 sigmoids take the place of the softmax. Published on LVIS v1 (Mask R-CNN R50, 1x): 16.1 to 23.7. In trainings of
some hundred steps the weights may never leave 1: see `eql_v2/ratio_min`.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.eql_v2 import EQLv2

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(EQLv2)(num_classes="${model.num_classes}", gamma=12.0, mu=0.8, alpha=4.0)
