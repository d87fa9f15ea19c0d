"""DR loss: the mean of the hardest negatives is to lie half below that of the hardest positives.

Expect no need for a weight of the background. Published on RetinaNet R50: AP 37.4.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_bg.dr_loss import DRLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(DRLoss)(prior=0.5)
