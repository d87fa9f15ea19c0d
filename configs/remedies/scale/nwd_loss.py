"""NWD loss: boxes as Gaussians, their distance in pixels over the mean size of the objects.

Expect better boxes of objects that are small for the data, and worse ones of large objects. The size comes from the
training set at the network's input.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import mean_input_size
from imbdet.remedies.scale.nwd_loss import NWDLoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    size = L(mean_input_size)(records="${data.train}", resize="${dataloader.val.resize}")
    criterion.regression = L(NWDLoss)(size=size)
    criterion.regression_weight = 10.0 if "roi_heads" in cfg.model else 2.0
