"""Your own data: data.root=FOLDER, in COCO, Pascal VOC or YOLO format (found out, or data.format=...).

The folder needs a train and a val split. Where it has a test split, too, say data.test_split=test; until then the test
loader reads the validation split, and reports call it by that name.
"""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.data.augment import Compose, Photometric, RandomFlip, ResizeShortestEdge
from imbdet.data.datasets.folder import folder_records
from imbdet.data.loader import EvalLoader, TrainLoader
from imbdet.data.samplers import UniformSampler

data = OmegaConf.create(
    dict(
        root="",
        format="auto",
        train_split="train",
        val_split="val",
        test_split="val",
        train=L(folder_records)(root="${data.root}", split="${data.train_split}", format="${data.format}"),
        val=L(folder_records)(root="${data.root}", split="${data.val_split}", format="${data.format}"),
        test=L(folder_records)(root="${data.root}", split="${data.test_split}", format="${data.format}"),
    )
)

dataloader = OmegaConf.create(
    dict(
        train=L(TrainLoader)(
            records="${data.train}",
            batch_size=4,
            mix=None,
            augment=L(Compose)(
                transforms=[
                    L(ResizeShortestEdge)(short_edge_length=[320, 352, 384, 416, 448], max_size=768),
                    L(RandomFlip)(horizontal=0.5, vertical=0.0),
                    L(Photometric)(brightness=0.2, contrast=0.3, saturation=0.3, hue=0.0, prob=0.5),
                ]
            ),
            image_sampler=UniformSampler,
            balance=None,
            num_workers=2,
            seed="${train.seed}",
            keep_empty=True,
            aspect_ratio_grouping=True,
            cache_bytes=0,
        ),
        val=L(EvalLoader)(
            records="${data.val}",
            resize=L(ResizeShortestEdge)(short_edge_length=416, max_size=768),
            batch_size=4,
            num_workers=2,
        ),
        test=L(EvalLoader)(records="${data.test}", resize="${dataloader.val.resize}", batch_size=4, num_workers=2),
    )
)
