"""What comparisons on shapes begin from (`--start`): retinanet_shapes after 1200 iterations on balanced classes.

It plays the part of ImageNet weights and a first training: its backbone and neck are kept, its heads are not.
"""

from .retinanet_shapes import data, dataloader, lr_multiplier, model, optimizer, train

data.train.class_ratio = 1.0
train.update(max_iter=1200, eval_period=300, num_threads=1)
train["checkpointer"] = dict(period=300, max_to_keep=1)
