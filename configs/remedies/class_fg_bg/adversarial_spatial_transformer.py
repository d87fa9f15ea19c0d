"""Adversarial spatial transformer: a network learns by which angle to turn an object's features, up to 10 degrees.

Training only; at test the detector is the baseline. The phases are those of adversarial_spatial_dropout, after which it
may be named: `--remedy adversarial_spatial_dropout --remedy adversarial_spatial_transformer` hides cells first and then
turns what is left. Expect little where objects come in all directions already. A step takes 1.14 times the baseline's,
as foreground passes the box head twice more. The control, angles at random:
model.roi_heads.region_features.network=null
"""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.modeling.defaults import Chain
from imbdet.remedies.class_fg_bg.adversarial_spatial_transformer import (
    AdversarialSpatialTransformer,
    LocalizationNetwork,
)

from ._phases import foreground_per_image, with_phases

baseline = "baselines/faster_rcnn_shapes"
wraps = ("adversarial_spatial_dropout",)


def apply(cfg):
    phases, before = with_phases(cfg), cfg.model.roi_heads.region_features
    head = OmegaConf.select(cfg, "model.roi_heads.box_head.widths")  # the paper's network is as wide as the head
    transformer = L(AdversarialSpatialTransformer)(
        network=L(LocalizationNetwork)(widths=[1024, 1024] if head is None else head),
        phases=phases,
        max_angle=10.0,
        blocks=4,
        weight=1.0,
        per_image=foreground_per_image(cfg),
        penalty=0.01,
        unturned_every=2,
    )
    cfg.model.roi_heads.region_features = transformer if before is None else L(Chain)(parts=[before, transformer])
