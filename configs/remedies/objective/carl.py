"""CARL, of PISA: the box loss, weighted by the score, is added, with gradient to the score.

Expect scores that follow how well boxes fit, and better AP at high IoU.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import Considered, Foreground
from imbdet.remedies.objective.carl import CARL

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    normalizer = L(Considered)() if "roi_heads" in cfg.model else L(Foreground)()
    criterion_of(cfg).coupling = L(CARL)(normalizer=normalizer, k=1.0, bias=0.2, weight=1.0)
