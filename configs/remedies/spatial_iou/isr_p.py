"""ISR-P, of PISA: the positive of each object that will fit it best counts most in the classification.

Expect better AP at high IoU. Published with all of PISA: Faster R-CNN R50 36.4 to 38.4; +1.0 on a common base.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_iou.isr_p import ISRP

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).weighting = L(ISRP)(k=2.0, bias=0.0)
