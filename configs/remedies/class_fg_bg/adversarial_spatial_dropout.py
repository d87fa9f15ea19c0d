"""Adversarial spatial dropout: a network learns which cells of an object to hide, and the detector to do without them.

Training only; at test the detector is the baseline. For a fifth of the iterations the detector learns alone; then it
rests for a tenth as many steps more, in which the adversary learns; then both learn. The detector has as many updates
as the baseline. As published: from a finished detector, with train.init_checkpoint=..., train.init_strict=false and
model.roi_heads.region_features.phases.detector=0. Expect gains where objects are occluded, and a lower probability of
the true class in training. The control, hiding as many cells at random: model.roi_heads.region_features.network=null
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_bg.adversarial_spatial_dropout import AdversarialSpatialDropout, MaskNetwork

from ._phases import foreground_per_image, with_phases

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.roi_heads.region_features = L(AdversarialSpatialDropout)(
        network=L(MaskNetwork)(width=None),
        phases=with_phases(cfg),
        dropped=15,
        candidates=20,
        unmasked_every=2,
        margin=0.1,
        weight=1.0,
        per_image=foreground_per_image(cfg),
        searched=min(48, foreground_per_image(cfg)),
    )
