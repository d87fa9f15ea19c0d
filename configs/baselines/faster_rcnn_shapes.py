"""A small Faster R-CNN on the embedded shapes set: the unit of every comparison, a minute or two on two CPU cores."""

from imbdet.config import LazyCall as L
from imbdet.modeling.backbones import TinyBackbone

from ..common.data.shapes import data, dataloader
from ..common.models.faster_rcnn import model
from ..common.optimizer import AdamW as optimizer
from ..common.schedule import lr_multiplier_cosine as lr_multiplier
from ..common.train import train

model.preprocess.mean, model.preprocess.std, model.preprocess.channels = [127.0] * 3, [64.0] * 3, "RGB"
model.backbone = L(TinyBackbone)(widths=[32, 64, 96, 96, 128])
model.neck.channels = 64
model.rpn.anchors.sizes = [[12], [24], [48], [72], [96]]
model.rpn.before_nms, model.rpn.after_nms = [128, 128], [128, 100]
model.rpn.criterion.region_sampler.per_image = 64
model.roi_heads.criterion.region_sampler.per_image = 64
# regions of a small picture are pooled from the finest level: at coarser ones a shape is a few cells
model.roi_heads.pooler.levels = ["p2"]
model.roi_heads.pooler.sampling_ratio = 1
model.roi_heads.box_head.widths = [256, 256]
optimizer.lr = 2e-3
optimizer.weight_decay = 1e-2
lr_multiplier.warmup_length = 50
train.update(max_iter=400, eval_period=100, log_period=20, num_threads=2)
train["clip_grad"] = dict(max_norm=10.0)
train["checkpointer"] = dict(period=100, max_to_keep=1)
