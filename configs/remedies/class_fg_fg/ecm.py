"""Effective class margin loss: margins of K + 1 sigmoids from the images of each class.

The published number of background regions for each object, 6.33, is that of Mask R-CNN: set `...background_ratio` to
what `ecm/background_ratio` shows. Published on LVIS v1 with a cosine classifier (R50, 2x): 27.9 box AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import image_counts
from imbdet.remedies.class_fg_fg.ecm import ECM

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(ECM)(
        image_counts=L(image_counts)(records="${data.train}"), background_ratio=6.3313, slope=2.0, power=0.25
    )
