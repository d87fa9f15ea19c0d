"""Control: the losses of the RoI head are divided by the foreground regions, as hard negative mining
divides them, and nothing is mined. At most a quarter of the regions is foreground, so both become at least four times
as large.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import Foreground

baseline = "baselines/faster_rcnn_shapes"
control = True


def apply(cfg):
    criterion_of(cfg).normalizer = L(Foreground)()
