"""Figures of the loader, for `python -m benchmarks`: against a loader made of PIL, and per picture of the shapes set.

Notable: the two loaders take turns in one process, a batch each, and the figure is the median of the ratios, so that
whatever else the machine does falls on both.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from imbdet.data.augment import Compose, Photometric, RandomFlip, ResizeShortestEdge, resized_size
from imbdet.data.datasets.shapes import shapes
from imbdet.data.images import FileImages
from imbdet.data.loader import TrainLoader
from imbdet.data.records import Records

SHORT_EDGE, MAX_SIZE = 800, 1333
_BATCH = 4


def benchmark_loader(root: str | None = None, rounds: int = 15) -> dict[str, float | int | str]:
    """Images per second of `TrainLoader` and of PIL decode + PIL resize (short side 800), each on one process.

    Args:
        root: a folder in COCO format, of whose train split the pictures of 640x480 are read; None makes JPEGs.
        rounds: batches of each loader, after one to warm up.

    Returns:
        data: what was read; images_per_s, pil_images_per_s; ratio: the median over the rounds; augmented_images_per_s:
        with flip and photometric changes added (PIL's stays without); render_ms: one shapes picture of 128x128;
        layout_ms: the annotations of 2000 such pictures.

    Raises:
        ValueError: the folder has no picture of 640x480.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            records = _generated(folder) if root is None else _of_one_size(root)
            resize = ResizeShortestEdge(SHORT_EDGE, MAX_SIZE)
            full = Compose([Photometric(), resize, RandomFlip()])
            loaders = {
                "ours": TrainLoader(records, _BATCH, resize, num_workers=0).iterate(),
                "augmented": TrainLoader(records, _BATCH, full, num_workers=0).iterate(),
                "pil": _pil_loader(records),
            }
            times = {name: [] for name in loaders}
            for _ in range(rounds + 1):
                for name, loader in loaders.items():
                    times[name].append(_seconds(lambda loader=loader: next(loader)))
        spent = {name: np.array(values[1:]) for name, values in times.items()}
        return {
            "data": "generated JPEGs, 640x480" if root is None else os.path.basename(os.path.normpath(root)),
            "images_per_s": _BATCH / float(np.median(spent["ours"])),
            "pil_images_per_s": _BATCH / float(np.median(spent["pil"])),
            "ratio": float(np.median(spent["pil"] / spent["ours"])),
            "augmented_images_per_s": _BATCH / float(np.median(spent["augmented"])),
            **_shapes_figures(),
        }
    finally:
        torch.set_num_threads(threads)


def _shapes_figures() -> dict[str, float]:
    # Another seed each time: `shapes` remembers what it made.
    layout = [_seconds(lambda seed=seed: shapes(seed=1000 + seed + time.time_ns() % 2**32)) for seed in range(3)]
    images = shapes(num_images=100).images
    render = [_seconds(lambda i=i: images[i]) for i in range(100)]
    return {"render_ms": 1e3 * float(np.median(render)), "layout_ms": 1e3 * float(np.median(layout))}


def _seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class _PilItems:
    """Image index -> image, target of the same pictures, by PIL alone; the image is a view, with no copy to planes."""

    def __init__(self, records: Records):
        self.records = records

    def __getitem__(self, index: int) -> tuple[Tensor, dict]:
        images, target = self.records.images, self.records.target(index)
        with Image.open(os.path.join(images.root, images.name(index))) as file:
            picture = file.convert("RGB")
        height, width = resized_size(picture.height, picture.width, SHORT_EDGE, MAX_SIZE)
        factors = torch.tensor([width / picture.width, height / picture.height] * 2)
        array = np.array(picture.resize((width, height), Image.BILINEAR))
        return torch.from_numpy(array).permute(2, 0, 1), {**target, "boxes": target["boxes"] * factors}


def _pil_loader(records: Records) -> Iterator[tuple]:
    order = [i % len(records) for i in range(10000 * _BATCH)]
    return iter(
        DataLoader(
            _PilItems(records), _BATCH, sampler=order, collate_fn=lambda samples: tuple(zip(*samples, strict=True))
        )
    )


def _of_one_size(root: str) -> Records:
    """The pictures of 640x480 of a folder's train split, from files (`FileImages`), at most 64."""
    from imbdet.data.datasets.folder import coco_folder

    records = coco_folder(root, "train")
    fit = np.flatnonzero((records.widths == 640) & (records.heights == 480))[:64]
    if not len(fit):
        raise ValueError(f"{records.source}: no picture of 640x480, which the figures are about")
    names = [records.images.name(i) for i in fit]
    return replace(records.subset(fit), images=FileImages(records.images.root, names))


def _generated(folder: str, number: int = 24) -> Records:
    """Shapes drawn at 480 pixels with a margin, saved as JPEG of 640x480."""
    drawn = shapes(num_images=number, image_size=480, size=(40, 240))
    names = [f"{i}.jpg" for i in range(number)]
    for i, name in enumerate(names):
        picture = np.pad(drawn.images[i].permute(1, 2, 0).numpy(), ((0, 0), (0, 160), (0, 0)), mode="reflect")
        Image.fromarray(picture).save(os.path.join(folder, name), quality=90)
    return replace(drawn, images=FileImages(folder, names), widths=np.full(number, 640))
