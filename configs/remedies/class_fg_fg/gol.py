"""Gumbel optimized loss: exp(-exp(-z)) in place of the sigmoid, K logits in place of the softmax.

Published on top of DropLoss and repeated images. Compare with sigmoid cross entropy, too (`eql` with quantile=0): the
change of logits alone moves AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.gol import GOL

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(GOL)(prior=0.001)
