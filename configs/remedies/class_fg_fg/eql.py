"""Equalization loss: objects do not push down the scores of rare classes; K sigmoids take the place of the softmax.

Rare is the third of the classes in the fewest images; the published `...threshold=0.00177` is for the many images of
LVIS. Compare with sigmoid cross entropy (`...quantile=0`), too, as the change of logits alone moves AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import image_shares
from imbdet.remedies.class_fg_fg.eql import EQL

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(EQL)(
        image_shares=L(image_shares)(records="${data.train}"), threshold=None, quantile=1 / 3, prior=0.001
    )
