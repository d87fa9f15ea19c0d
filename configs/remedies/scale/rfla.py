"""RFLA: each object takes the four regions that fit it best as Gaussians; there is no threshold that a tiny one misses.

Expect better AP of tiny objects, and worse of others, which lose most of their regions. Published on AI-TOD: Faster
R-CNN (`--remedy rfla@rpn`) AP 11.1 to 21.1, FCOS 12.6 to 13.3.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.scale.rfla import RFLA

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).matcher = L(RFLA)(fields=None, first=3, second=1, shrink=0.9, ignore=0.8)
