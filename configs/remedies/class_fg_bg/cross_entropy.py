"""Cross entropy over K sigmoids: what focal loss, GHM and their kin are to be compared with.

RetinaNet on shapes has it already; on the published RetinaNets it takes focal loss away. On RoI heads the softmax gives
way to sigmoids and the rest stays, so that focal loss there can be compared with the loss it is made of.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_bg.cross_entropy import CrossEntropy

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(CrossEntropy)(prior=0.01)
