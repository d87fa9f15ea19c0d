"""DropLoss: equalization loss in which background, too, pushes rare classes down only now and then.

Rare is the third of the classes in the fewest images, as in `eql`. Compare with `...quantile=0` and with `eql`.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import image_shares
from imbdet.remedies.class_fg_fg.drop_loss import DropLoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(DropLoss)(
        image_shares=L(image_shares)(records="${data.train}"), threshold=None, quantile=1 / 3, prior=0.001
    )
