"""Dynamic label assignment: the IoU of foreground begins at 0.4 and rises with that of the proposals.

Expect better AP at high IoU. Published with dynamic smooth L1: Faster R-CNN R50 +1.5 AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_iou.dynamic_label_assignment import DynamicLabelAssignment

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    # the source's 75 are of about a thousand proposals; a dense head has no proposals, and takes the number as it is
    proposals = cfg.model.rpn.after_nms[0] if "rpn" in cfg.model else 1000
    topk = max(1, round(75 * proposals / 1000))
    criterion_of(cfg).matcher = L(DynamicLabelAssignment)(initial=0.4, topk=topk, interval=100)
