"""RetinaNet on EfficientNet-Lite0 for your own data: data.root=FOLDER in COCO, VOC or YOLO format."""

from ..common.data.custom import data, dataloader
from ..common.models.lite0 import backbone, preprocess
from ..common.models.retinanet import model
from ..common.optimizer import AdamW as optimizer
from ..common.schedule import lr_multiplier_cosine as lr_multiplier
from ..common.train import train

model.preprocess, model.backbone = preprocess, backbone
model.backbone.levels = ["c3", "c4", "c5"]
model.neck.channels = 64
optimizer.lr = 5e-4
lr_multiplier.warmup_length = 100
train.update(max_iter=600, eval_period=150, log_period=20)
train["clip_grad"] = dict(max_norm=10.0)
train["checkpointer"] = dict(period=150, max_to_keep=2)
