"""IoU-balanced sampling of background (Libra R-CNN): a third each from IoU 0 to 0.17, 0.17 to 0.33 and 0.33 to 0.5.

Random sampling takes most of its background from regions that touch no object, since most do not. Expect fewer badly
placed detections near objects. The number of regions is the baseline's.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_bg.iou_balanced_sampling import IoUBalancedSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    sampler = criterion.region_sampler
    criterion.region_sampler = L(IoUBalancedSampling)(
        per_image=sampler.get("per_image", 256), fraction=sampler.get("fraction", 0.5), bins=3, limit=0.5
    )
