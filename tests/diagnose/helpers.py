"""Hand-made records for the diagnosis."""

import numpy as np
import torch

from imbdet.data.records import Records


class Plain:
    """Pictures of one gray level an image, or the given arrays (H, W, 3)."""

    def __init__(self, sizes, arrays=None):
        self.sizes, self.arrays = sizes, arrays

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        if self.arrays is not None:
            return torch.from_numpy(self.arrays[index]).permute(2, 0, 1)
        width, height = self.sizes[index]
        return torch.full((3, height, width), 7 * index % 256, dtype=torch.uint8)

    def name(self, index):
        return f"{index}.jpg"


def make_records(images, classes=("a", "b", "c"), size=(100, 100), name="train", crowd=(), arrays=None, sizes=None):
    """images: one list an image of (label, x, y, w, h); crowd: indices of objects that are crowd regions."""
    sizes = sizes or [size] * len(images)
    rows = [row for image in images for row in image]
    xywh = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 4)
    return Records(
        name=name,
        source=f"{name}.json",
        class_names=tuple(classes),
        category_ids=np.arange(1, len(classes) + 1),
        image_ids=np.arange(10, 10 + len(images)),
        heights=np.array([height for _, height in sizes], dtype=np.int32).reshape(len(images)),
        widths=np.array([width for width, _ in sizes], dtype=np.int32).reshape(len(images)),
        offsets=np.concatenate([[0], np.cumsum([len(image) for image in images])]),
        xywh=xywh,
        labels=np.array([row[0] for row in rows], dtype=np.int32),
        areas=xywh[:, 2] * xywh[:, 3],
        crowd=np.isin(np.arange(len(rows)), crowd),
        annotation_ids=np.arange(1, len(rows) + 1),
        images=Plain(sizes, arrays),
    )


def box(label, x=10, y=10, w=20, h=20):
    return (label, x, y, w, h)
