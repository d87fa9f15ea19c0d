"""LOCE's equilibrium loss: balanced softmax whose prior is the mean score of each class so far.

Published as a fine-tune of the classifier alone, from a finished cosine model: train.init_checkpoint, train.freeze and
train.reset do that. Background is held at 0.01, so as classes are learned their scores fall beside it in training, and
rise at test.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.loce_ebl import EquilibriumLoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(EquilibriumLoss)(num_classes="${model.num_classes}", momentum=0.9)
