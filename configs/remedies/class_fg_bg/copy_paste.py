"""Copy-paste: a random part of the objects of another picture is pasted into each, as rectangles.

Expect more positive regions of a picture and more small objects. Published with masks: box AP +0.5 after 90k
iterations and +1.6 after 270k. Rectangles have seams that masks have not.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_bg.copy_paste import CopyPaste

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.mix = L(CopyPaste)(prob=1.0, off=0.0, scale=[0.1, 2.0], most=100, least=0.1)
