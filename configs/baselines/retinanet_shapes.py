"""A small RetinaNet with cross entropy on the embedded shapes set: the minus side of focal loss and of its kin.

The loss starts at a prior of 0.01, without which cross entropy over all anchors diverges. `--remedy focal_loss` gives
the published detector.
"""

from imbdet.config import LazyCall as L
from imbdet.modeling.backbones import TinyBackbone
from imbdet.modeling.defaults import SigmoidCrossEntropy

from ..common.data.shapes import data, dataloader
from ..common.models.retinanet import model
from ..common.optimizer import AdamW as optimizer
from ..common.schedule import lr_multiplier_cosine as lr_multiplier
from ..common.train import train

model.preprocess.mean, model.preprocess.std, model.preprocess.channels = [127.0] * 3, [64.0] * 3, "RGB"
model.backbone = L(TinyBackbone)(widths=[32, 64, 96, 96, 128])
model.neck.channels = 64
model.neck.levels, model.neck.extra = ["c3", "c4", "c5"], ""
model.anchors.sizes = [[x, x * 2 ** (1 / 3), x * 2 ** (2 / 3)] for x in (16, 32, 64)]
model.convs = 2
model.criterion.classification = L(SigmoidCrossEntropy)(prior=0.01)
model.candidates_per_level = 200
optimizer.lr = 2e-3
optimizer.weight_decay = 1e-2
lr_multiplier.warmup_length = 50
train.update(max_iter=400, eval_period=100, log_period=20, num_threads=2)
train["clip_grad"] = dict(max_norm=10.0)
train["checkpointer"] = dict(period=100, max_to_keep=1)
