"""Federated loss: only the classes of the batch, and others drawn up to 50, are told that they are absent.

With fewer than 50 classes it is sigmoid cross entropy; `...num_sampled=5` makes it a random choice of negatives there.
Made for data where an image says of some classes only whether they are there (LVIS).
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import image_counts
from imbdet.remedies.class_fg_fg.federated_loss import FederatedLoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(FederatedLoss)(
        image_counts=L(image_counts)(records="${data.train}"), num_sampled=50, power=0.5, prior=0.01
    )
