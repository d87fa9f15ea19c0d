"""Tiling: a picture shows one of its tiles of 0.6 of its sides, or itself, each time that it comes.

Expect better AP of objects that are small for their pictures, evaluated with `--tiles 0.6`, at five times the time of
an evaluation, and little or less of large ones. Published for pictures of one to four megapixels, in tiles of 512
pixels (`dataloader.train.augment.transforms.0.size=512`).
"""

from imbdet.config import LazyCall as L
from imbdet.data.augment import Compose
from imbdet.remedies.scale.tiling import Tiling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    train = cfg.dataloader.train
    unscaled = cfg.dataloader.val.resize is None  # nothing else brings a tile to one size
    tiling = L(Tiling)(
        size=0.6, overlap=0.2, whole=True, prob=1.0, anywhere=False, least=0.1, empty=True, enlarge=unscaled
    )
    train.augment = L(Compose)(transforms=[tiling, *([] if train.augment is None else [train.augment])])
