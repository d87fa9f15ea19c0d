"""aLRP loss: scores and boxes are trained by one ranking, so that no weight between the two is tuned.

Expect scores that follow how well boxes fit, and better AP at high IoU. The box loss is GIoU, on deltas with the
factors of RoIs; its weight starts at 50 and is set anew after each tenth of the training. The source trains eight times
as long as focal loss. Published on RetinaNet R50 at 500 px: 38.9 where AP loss has 35.5 (40.2 with ATSS).
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import Foreground
from imbdet.remedies.class_fg_bg.alrp_loss import ALRPBoxes, ALRPLoss
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.classification = L(ALRPLoss)(tau=0.5, delta=1.0, prior=0.01, normalizer=L(Foreground)())
    criterion.regression, criterion.regression_weight = L(GIoULoss)(), 0.0
    criterion.coupling = L(ALRPBoxes)(
        classification="${..classification}", period="${train.max_iter}", periods=10, start=50.0
    )
    criterion.box_coder.weights = [10.0, 10.0, 5.0, 5.0]
