"""ACSL: a class learns that it is absent from regions that it is confused with, and from few of background.

K + 1 sigmoids take the place of the softmax. Published as a fine-tune of the classifier alone, from a finished softmax
model (LVIS 0.5, R50: 21.2 to 26.4): train.init_checkpoint, train.freeze and train.reset do that.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_groups
from imbdet.remedies.class_fg_fg.acsl import ACSL

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(ACSL)(groups=L(class_groups)(records="${data.train}"), threshold=0.7)
