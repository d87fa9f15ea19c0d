"""Objectness and class have logits of their own: Seesaw loss without its re-weighting.

It is the arm that `seesaw` is to be compared with: the change of logits alone moves AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.objectness_softmax import ObjectnessSoftmax

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(ObjectnessSoftmax)()
