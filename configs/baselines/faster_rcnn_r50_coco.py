"""Faster R-CNN R50-FPN on COCO: detectron2's faster_rcnn_R_50_FPN_1x in every value.

Start from detectron2's ImageNet weights or from its trained model with train.init_checkpoint=FILE (`.pkl` of its model
zoo).
"""

from ..common.data.coco import data, dataloader
from ..common.models.faster_rcnn import model
from ..common.optimizer import SGD as optimizer
from ..common.schedule import lr_multiplier_1x as lr_multiplier
from ..common.train import train

train["reference_batch"] = 16
