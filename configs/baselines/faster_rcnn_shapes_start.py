"""What comparisons on shapes begin from (`--start`): faster_rcnn_shapes after 1200 iterations on balanced classes.

It plays the part of ImageNet weights and a first training: its backbone, neck and RPN are kept, its heads are not.
bfloat16 is about 1.5 times as fast on CPUs with AMX.
"""

from .faster_rcnn_shapes import data, dataloader, lr_multiplier, model, optimizer, train

data.train.class_ratio = 1.0
train.update(max_iter=1200, eval_period=300, num_threads=1)
train["amp"] = dict(enabled=True, dtype="bfloat16")
train["checkpointer"] = dict(period=300, max_to_keep=1)
