"""NorCal: a finished detector's scores are divided by a power of the images of each class, and normalized anew.

It needs no training: `imbdet evaluate --run DIR --remedy norcal --tune-on train --split test`. Expect APr up at some
cost of APf. The threshold falls to 0.0001, as all scores of objects do; compare with a baseline at that threshold.
"""

from imbdet.config import LazyCall as L
from imbdet.data.statistics import image_counts
from imbdet.remedies.class_fg_fg.norcal import NorCal

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.calibration = L(NorCal)(image_counts=L(image_counts)(records="${data.train}"), gamma=0.6)
