"""Detections on single picture files: find the files, run the detector, draw.

Notable: a picture goes through the same `resize` as the validation images of the config, since a detector sees objects
of the size that it was trained on.
"""

from __future__ import annotations

import colorsys
import glob
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes

from ..data.images import PICTURE_SUFFIXES
from ..data.tiles import Tiles, part_of
from .inference import evaluating, original_boxes
from .tiles import merge


def find_pictures(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Find pictures: files, folders (all pictures below them) and globs -> pictures, each once; and a message per word
    without any.
    """
    found: dict[Path, None] = {}
    problems = []
    for word in words:
        if os.path.isdir(word):
            paths = sorted(p for p in Path(word).rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
            problems += [] if paths else [f"{word}: no picture in this folder ({', '.join(PICTURE_SUFFIXES)})"]
        elif os.path.isfile(word):  # also a file whose name holds * or [
            paths = [Path(word)]
        else:
            paths = [Path(p) for p in sorted(glob.glob(word, recursive=True)) if os.path.isfile(p)]
            problems += [] if paths else [f"{word}: no such file"]
        found.update(dict.fromkeys(paths))
    return list(found), problems


def predict_picture(
    model: nn.Module, image: Tensor, resize: Any = None, threshold: float = 0.5, tiles: Tiles | None = None
) -> dict[str, Tensor]:
    """Return what the model finds with a score of at least `threshold`, best first.

    Args:
        image: uint8 RGB (3, H, W). resize: called as `resize(image, {}, rng)`, or None.
        tiles: look at these parts, and merge what is found; see `EvalLoader` and `predict`.

    Returns:
        {"boxes": float64 (D, 4) XYXY in pixels of `image`, "scores": (D,), "labels": (D,)} on the CPU.
    """
    windows = [] if tiles is None else tiles.windows(*image.shape[1:])
    if len(windows) > 1:
        parts = [
            _find(model, part_of(image, window, resize), window[3] - window[1], window[2] - window[0])
            for window in windows
        ]
        for part, window in zip(parts, windows, strict=True):
            part["boxes"] += torch.from_numpy(np.tile(window[:2], 2))
        found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        index = merge(*found.values(), model.nms_threshold, model.max_detections)
        found = {name: value[index] for name, value in found.items()}
    else:
        resized = image if resize is None else resize(image, {}, np.random.default_rng(0))[0]
        found = _find(model, resized, *image.shape[1:])
    keep = found["scores"] >= threshold
    order = torch.argsort(found["scores"][keep], descending=True, stable=True)
    return {name: value[keep][order] for name, value in found.items()}


def _find(model: nn.Module, resized: Tensor, height: int, width: int) -> dict[str, Tensor]:
    """Boxes in pixels of the picture of that size, scores as float64 and labels; on the CPU."""
    with evaluating(model):
        found = {name: value.cpu() for name, value in model([resized])[0].items()}
    boxes = original_boxes(found["boxes"], tuple(resized.shape[-2:]), (int(height), int(width)))
    return {"boxes": boxes, "scores": found["scores"].double(), "labels": found["labels"]}


def draw(image: Tensor, found: dict[str, Tensor], class_names: Sequence[str]) -> Tensor:
    """Return uint8 (3, H, W) with a box, the class's name and the score of everything found; a color per class."""
    boxes, labels = found["boxes"], found["labels"].tolist()
    if not len(boxes):
        return image
    limits = torch.tensor([image.shape[2] - 1, image.shape[1] - 1] * 2, dtype=boxes.dtype)
    texts = [f"{class_names[k]} {score:.2f}" for k, score in zip(labels, found["scores"].tolist(), strict=True)]
    filled = {"label_colors": ["white"] * len(labels), "fill_labels": True}  # older torchvisions cannot
    known = inspect.signature(draw_bounding_boxes).parameters
    return draw_bounding_boxes(
        image,
        torch.minimum(boxes, limits),
        labels=texts,
        colors=[_color(k, len(class_names)) for k in labels],
        width=max(1, round(min(image.shape[1:]) / 250)),
        **(filled if filled.keys() <= known.keys() else {}),
    )


def _color(label: int, classes: int) -> tuple[int, int, int]:
    """Dark enough for white text, and far apart on the color circle for neighbors."""
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb((label * 0.618) % 1.0, 0.85, 0.75))
