"""Class-targeted copy-paste: objects of rare classes are pasted until each class has half of an equal share of boxes.

Expect better AP of rare classes without more boxes of the frequent ones. The log shows what each class gains. Hold it
against configs/controls/seam.py, which pastes as much background.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.class_targeted_copy_paste import ClassTargetedCopyPaste

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.mix = L(ClassTargetedCopyPaste)(
        level=0.5, scale=[0.8, 1.25], least=0.1, tries=10, background=False
    )
