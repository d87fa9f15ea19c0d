"""`shapes`: an embedded synthetic data set with a dial for each imbalance.

Notable: no file is read or written. Annotations are laid out at once (`shapes_layout`), pictures are rendered when
asked for (`shapes_render`), and both are pure functions of (seed, split, index): image 7 of a data set of 10 images is
image 7 of one of 10,000. The train split is imbalanced as the dials say, val and test are class-balanced and free of
label noise; the other dials hold for all splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imbdet.data.datasets.shapes_layout import class_probabilities, lay_out
from imbdet.data.datasets.shapes_outlines import CLASSES
from imbdet.data.datasets.shapes_render import ShapesImages
from imbdet.data.records import Records

NUM_IMAGES = {"train": 2000, "val": 300, "test": 600}
_SPLIT_CODES = {"train": 0, "val": 1, "test": 2}


@dataclass(frozen=True)
class ShapesSpec:
    """The dials, checked; see `shapes` for their meaning."""

    split: str
    seed: int
    num_images: int
    image_size: int
    num_classes: int
    class_ratio: float
    objects_per_image: tuple[int, int]
    size: tuple[float, float]
    size_skew: float
    place: float
    clutter: float
    distractors: int
    occlusion: float
    label_noise: float
    covered: float

    def __post_init__(self):
        _check("split", self.split, self.split in _SPLIT_CODES, f"one of {', '.join(_SPLIT_CODES)}")
        _check("seed", self.seed, self.seed >= 0, "0 or more")
        _check("num_images", self.num_images, self.num_images >= 1, "1 or more")
        _check("image_size", self.image_size, self.image_size >= 16, "16 pixels or more")
        _check("num_classes", self.num_classes, 1 <= self.num_classes <= len(CLASSES), f"1 to {len(CLASSES)}")
        _check("class_ratio", self.class_ratio, self.class_ratio >= 1, "1 (balanced) or more")
        few, many = self.objects_per_image
        _check("objects_per_image", self.objects_per_image, 0 <= few <= many and many >= 1, "(fewest, most), most >= 1")
        small, large = self.size
        _check("size", self.size, 4 <= small <= large <= self.image_size, "(min, max), 4 <= min <= max <= image_size")
        _check("size_skew", self.size_skew, -4 <= self.size_skew <= 4, "-4 (small) to 4 (large)")
        _check("place", self.place, -1 <= self.place <= 1, "-1 (border) to 1 (center)")
        _check("clutter", self.clutter, 0 <= self.clutter <= 2, "0 (plain) to 2")
        _check("distractors", self.distractors, 0 <= self.distractors <= 50, "0 to 50")
        _check("occlusion", self.occlusion, 0 <= self.occlusion <= 1, "0 to 1")
        _check("label_noise", self.label_noise, 0.3 <= self.label_noise <= 1, "0.3 to 1 (none)")
        _check("covered", self.covered, 0 <= self.covered <= 1, "0 (none) to 1 (all)")

    @property
    def split_code(self) -> int:
        """Enters every hash and seed, so that no two splits share an image."""
        return _SPLIT_CODES[self.split]

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (K,): how often each class is drawn."""
        return class_probabilities(self.num_classes, self.class_ratio)


def _check(dial: str, value, valid: bool, right: str) -> None:
    if not valid:
        raise ValueError(f"shapes: {dial}={value!r}; it must be {right}")


def shapes(
    split: str = "train",
    seed: int = 0,
    num_images: int | None = None,
    image_size: int = 128,
    num_classes: int = 10,
    class_ratio: float = 50.0,
    objects_per_image: tuple[int, int] = (2, 6),
    size: tuple[float, float] = (16.0, 64.0),
    size_skew: float = 0.0,
    place: float = 0.0,
    clutter: float = 0.25,
    distractors: int = 1,
    occlusion: float = 0.1,
    label_noise: float = 1.0,
    covered: float = 0.0,
) -> Records:
    """Return one split of the shapes data set.

    Args:
        split: "train", "val" or "test"; no two share an image.
        seed: of everything random; another seed is another data set of the same kind.
        num_images: None takes 2000, 300 and 600 for train, val and test.
        image_size: pictures are square, of so many pixels a side.
        num_classes: 1 to 10; the first so many of `shapes_outlines.CLASSES`.
        class_ratio: how many boxes the most frequent class has for one of the rarest, with a geometric decay between
            them. Of the train split only: val and test draw all classes alike.
        objects_per_image: (fewest, most), all numbers between equally likely. 0 gives images without objects.
        size: (min, max) of the longer side of a box, in pixels, log-uniform between them.
        size_skew: 0 leaves it so; 1 moves the mean of log size from 1/2 to 2/3 of the range, -1 to 1/3, and so on.
        place: where the centers lie: 0 uniform, 1 crowded at the center, -1 at the border.
        clutter: strength of the textures of ground and objects; 0 gives plain ones.
        distractors: each image has 0 to so many things that look like a shape and are none: hard background.
        occlusion: how much of the smaller box two things may share, 0 to 1. An object that finds no place is left out.
        label_noise: the mean IoU of the annotated with the true boxes (train only); 1 is exact.
        covered: the share of objects of which something in front hides a part, a quarter to three fifths of the box
            from one side; boxes stay those of whole objects. Without it a picture is the same to the last bit.

    Returns Records, the same for equal arguments; areas are those of annotated boxes. Raises ValueError: a bad dial.
    """
    _check("split", split, split in _SPLIT_CODES, f"one of {', '.join(_SPLIT_CODES)}")
    train = split == "train"
    spec = ShapesSpec(
        split=split,
        seed=int(seed),
        num_images=NUM_IMAGES[split] if num_images is None else int(num_images),
        image_size=int(image_size),
        num_classes=int(num_classes),
        class_ratio=float(class_ratio) if train else 1.0,
        objects_per_image=_pair("objects_per_image", objects_per_image, int),
        size=_pair("size", size, float),
        size_skew=float(size_skew),
        place=float(place),
        clutter=float(clutter),
        distractors=int(distractors),
        occlusion=float(occlusion),
        label_noise=float(label_noise) if train else 1.0,
        covered=float(covered),
    )
    return _records(spec)


def _pair(dial: str, value, kind: type) -> tuple:
    """A pair from whatever sequence a config gives."""
    pair = tuple(kind(v) for v in value)
    _check(dial, value, len(pair) == 2, "a pair")
    return pair


@lru_cache(maxsize=16)
def _records(spec: ShapesSpec) -> Records:
    scene = lay_out(spec)
    name = f"shapes/{spec.split}/seed{spec.seed}" + (f"/covered{spec.covered:g}" if spec.covered else "")
    images = ShapesImages(scene, (spec.seed, spec.split_code), spec.image_size, spec.clutter, name, spec.covered)
    counted = np.concatenate([[0], np.cumsum(scene.is_object)])
    noisy = scene.noisy[scene.is_object]
    xywh = np.concatenate([noisy[:, :2], noisy[:, 2:] - noisy[:, :2]], axis=1)
    side = np.full(spec.num_images, spec.image_size)
    return Records(
        name=f"shapes_{spec.split}",
        source="shapes",
        class_names=tuple(CLASSES)[: spec.num_classes],
        category_ids=np.arange(1, spec.num_classes + 1),
        image_ids=np.arange(1, spec.num_images + 1),
        heights=side,
        widths=side,
        offsets=counted[scene.offsets],
        xywh=xywh,
        labels=scene.kind[scene.is_object],
        areas=xywh[:, 2] * xywh[:, 3],
        crowd=np.zeros(len(xywh), dtype=bool),
        annotation_ids=np.arange(1, len(xywh) + 1),
        images=images,
    )
