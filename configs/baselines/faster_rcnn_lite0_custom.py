"""Faster R-CNN on EfficientNet-Lite0 for your own data: data.root=FOLDER in COCO, VOC or YOLO format.

Small enough for a CPU: BCCD's 205 images in under 20 minutes on two cores.
"""

from ..common.data.custom import data, dataloader
from ..common.models.faster_rcnn import model
from ..common.models.lite0 import backbone, preprocess
from ..common.optimizer import AdamW as optimizer
from ..common.schedule import lr_multiplier_cosine as lr_multiplier
from ..common.train import train

model.preprocess, model.backbone = preprocess, backbone
model.neck.channels = 64
model.rpn.before_nms, model.rpn.after_nms = [500, 500], [500, 300]
model.roi_heads.criterion.region_sampler.per_image = 128
model.roi_heads.pooler.sampling_ratio = 2
model.roi_heads.box_head.widths = [512, 512]
optimizer.lr = 5e-4
lr_multiplier.warmup_length = 100
train.update(max_iter=600, eval_period=150, log_period=20)
train["clip_grad"] = dict(max_norm=10.0)
train["checkpointer"] = dict(period=150, max_to_keep=2)
