"""AP loss: the average precision of the batch, in place of a sum over regions.

Expect no need for a weight of the background. The source trains eight times as long as focal loss.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import Foreground
from imbdet.remedies.class_fg_bg.ap_loss import APLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(APLoss)(delta=1.0, prior=0.01, normalizer=L(Foreground)())
