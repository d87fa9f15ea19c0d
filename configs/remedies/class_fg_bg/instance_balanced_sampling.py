"""Instance-balanced sampling of foreground (Libra R-CNN): large objects no longer give most of the positives.

Named after iou_balanced_sampling it keeps that sampler for the background, as Libra R-CNN does.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_bg.instance_balanced_sampling import InstanceBalancedSampling
from imbdet.remedies.class_fg_bg.iou_balanced_sampling import IoUBalancedSampling

baseline = "baselines/faster_rcnn_shapes"
wraps = ("iou_balanced_sampling",)


def apply(cfg):
    criterion = criterion_of(cfg)
    sampler = criterion.region_sampler
    iou_balanced = sampler._target_.endswith(f".{IoUBalancedSampling.__name__}")
    criterion.region_sampler = L(InstanceBalancedSampling)(
        per_image=sampler.get("per_image", 256),
        fraction=sampler.get("fraction", 0.5),
        background=sampler.copy() if iou_balanced else None,
    )
