"""Location weighting: the loss of a class is divided by how evenly its objects are spread over the pictures.

Expect nothing where all classes are spread alike, as in the shapes set: there it is a negative control. `imbdet
diagnose` shows the dimension of each class.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.places import class_dimensions
from imbdet.data.statistics import class_counts
from imbdet.remedies.spatial_location.location_weighting import LocationWeighting

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).weighting = L(LocationWeighting)(
        dimensions=L(class_dimensions)(records="${data.train}"),
        counts=L(class_counts)(records="${data.train}"),
        power=2.0,
        limit=4.0,
    )
