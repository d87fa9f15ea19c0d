"""cRT: of a finished run the classifier alone learns anew, with class-aware sampling.

    imbdet train --config baselines/faster_rcnn_shapes --remedy crt train.init_checkpoint=output/run/best.pth

Expect better AP of rare classes at little cost elsewhere, as what the detector sees stays. Published on LVIS v1 (Mask
R-CNN R50, the code of EQL v2): 16.1 to 22.1, where repeat factor sampling has 22.2.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.crt import CRT

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(CRT)(max_repeats=None, _partial_=True)
    cfg.train.freeze = ["*", "!*.cls_score"]
    cfg.train.reset = ["*.cls_score"]
