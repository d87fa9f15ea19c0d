"""COCO 2017 as detectron2 trains on it: shorter side 640 to 800, at most 1333, 16 images a batch, no empty images."""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.data.augment import Compose, RandomFlip, ResizeShortestEdge
from imbdet.data.datasets.folder import coco_folder
from imbdet.data.loader import EvalLoader, TrainLoader
from imbdet.data.samplers import UniformSampler

data = OmegaConf.create(
    dict(
        root="datasets/coco",
        train=L(coco_folder)(root="${data.root}", split="train2017"),
        val=L(coco_folder)(root="${data.root}", split="val2017"),
        test="${data.val}",  # the labels of COCO's test split are not public
    )
)

dataloader = OmegaConf.create(
    dict(
        train=L(TrainLoader)(
            records="${data.train}",
            batch_size=16,
            mix=None,
            augment=L(Compose)(
                transforms=[
                    L(ResizeShortestEdge)(short_edge_length=[640, 672, 704, 736, 768, 800], max_size=1333),
                    L(RandomFlip)(horizontal=0.5, vertical=0.0),
                ]
            ),
            image_sampler=UniformSampler,
            balance=None,
            num_workers=4,
            seed="${train.seed}",
            keep_empty=False,
            aspect_ratio_grouping=True,
            cache_bytes=0,
        ),
        val=L(EvalLoader)(
            records="${data.val}",
            resize=L(ResizeShortestEdge)(short_edge_length=800, max_size=1333),
            batch_size=2,
            num_workers=4,
        ),
        test="${dataloader.val}",
    )
)
