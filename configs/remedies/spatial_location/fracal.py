"""FRACAL: a finished detector's scores are divided by frequency and by how evenly a class is spread over the picture.

It needs no training: `imbdet evaluate --run DIR --remedy fracal --tune-on train --split test`; of a run it reads the
training data that the config names. The controls: `model.calibration.tau=0` leaves the places alone, `...power=0` the
frequency.
"""

from imbdet.config import LazyCall as L
from imbdet.data.places import class_dimensions
from imbdet.data.statistics import image_shares
from imbdet.remedies.spatial_location.fracal import FRACAL

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.calibration = L(FRACAL)(
        image_shares=L(image_shares)(records="${data.train}"),
        dimensions=L(class_dimensions)(records="${data.train}"),
        tau=1.0,
        power=2.0,
    )
