"""The embedded shapes data set: 2000 imbalanced images of 128x128 to train on, balanced val and test; no download."""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.data.augment import Compose, RandomFlip
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import EvalLoader, TrainLoader
from imbdet.data.samplers import UniformSampler

# The seed of the data is its own: repeating a run with another train.seed repeats it on the same data.
# `covered` is the share of objects that are partly hidden, e.g. data.test.covered=0.5.
data = OmegaConf.create(
    dict(
        seed=0,
        train=L(shapes)(split="train", seed="${data.seed}", num_images=2000, class_ratio=50.0, covered=0.0),
        val=L(shapes)(split="val", seed="${data.seed}", num_images=300, covered="${data.test.covered}"),
        test=L(shapes)(split="test", seed="${data.seed}", num_images=600, covered=0.0),
    )
)

dataloader = OmegaConf.create(
    dict(
        train=L(TrainLoader)(
            records="${data.train}",
            batch_size=8,
            mix=None,
            # Shapes are turned at random, so upside down is as good as upright.
            augment=L(Compose)(transforms=[L(RandomFlip)(horizontal=0.5, vertical=0.5)]),
            image_sampler=UniformSampler,
            balance=None,
            num_workers=1,
            seed="${train.seed}",
            keep_empty=True,
            aspect_ratio_grouping=False,
            cache_bytes=128 * 2**20,  # all 2000 pictures (98 MB) are rendered once
        ),
        val=L(EvalLoader)(records="${data.val}", resize=None, batch_size=16, num_workers=1),
        test=L(EvalLoader)(records="${data.test}", resize=None, batch_size=16, num_workers=1),
    )
)
