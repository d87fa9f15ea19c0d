"""RetinaNet R50-FPN on COCO: detectron2's retinanet_R_50_FPN_1x in every value.

Start from detectron2's ImageNet weights or from its trained model with train.init_checkpoint=FILE (`.pkl` of its model
zoo).
"""

from ..common.data.coco import data, dataloader
from ..common.models.retinanet import model
from ..common.optimizer import SGD as optimizer
from ..common.schedule import lr_multiplier_1x as lr_multiplier
from ..common.train import train

optimizer.lr = 0.01
train["reference_batch"] = 16
