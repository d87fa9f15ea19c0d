"""Run a detector over a split.

Notable: one transfer from the device per batch, not per image; boxes go back to the pixels of the original picture in
float64 and are clipped there. `torch.no_grad` and not `inference_mode`: what a model caches here, such as its anchors,
is used by the training that goes on afterwards, where autograd refuses inference tensors.

Letters: N images of a batch, D detections.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.loader import ShardedLoader
from .detections import Detections
from .tiles import merge_images


def predict(
    model: nn.Module,
    loader: Any,
    device: Any = None,
    progress: bool = True,
    shared: bool = False,
    class_names: Sequence[str] | None = None,
) -> Detections:
    """Return everything `model` finds in the images of `loader`, in order of image id, best first within an image.

    Args:
        model: a detector; it is put into eval mode, and every module back into the mode it was in.
        loader: gives (images, infos): N uint8 tensors (3, H, W) of the network's size, and N dicts with image_id and
            the height and width of the original picture. With "window" they are those of a tile of it: what is found
            there is moved to its place, and suppressed with the model's `nms_threshold` and `max_detections` over all
            tiles of a picture (`voting` of the model acts within a tile only).
        device: move the model there first; None leaves it where it is.
        progress: a progress bar on stderr, if that is a terminal.
        shared: divide the images among the processes of torch.distributed and give the whole to each of them. All must
            call this. An image that two of them saw counts once.
        class_names: the model's classes; None: those of `loader.records`, if it has any.

    Raises:
        ValueError: the model returned a score or box that is not finite; with the image id.
    """
    if device is not None:
        model.to(device)
    rank, size = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if shared else (0, 1)
    parts: list[dict[str, np.ndarray]] = []
    tiled: set[int] = set()
    with evaluating(model):
        for images, infos in _progress(_shard(loader, rank, size), loader, size, progress and rank == 0):
            if len(images):
                parts.append(_to_arrays(model(images), images, infos))
                tiled.update(int(info["image_id"]) for info in infos if "window" in info)
    columns = _joined(parts)
    if tiled:
        columns = merge_images(columns, tiled, model.nms_threshold, model.max_detections)
    if size > 1:
        columns = _gathered(columns, size)
    order = np.lexsort((-columns["score"], columns["image_id"]))
    if class_names is None:
        class_names = getattr(getattr(loader, "records", None), "class_names", ())
    return Detections(
        **{name: columns[name][order] for name in ("image_id", "label", "score", "xywh")},
        class_names=tuple(class_names),
        source="the model's detections",
    )


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set eval mode without gradients while inside. Afterwards each module has the mode that it had (frozen ones stay
    frozen).
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def original_boxes(boxes: Tensor, network: tuple[int, int], original: tuple[int, int]) -> Tensor:
    """Convert (D, 4) XYXY of the network's picture -> float64 of the original picture, clipped to it. Sizes are
    (height, width).
    """
    scale_y, scale_x = original[0] / network[0], original[1] / network[1]
    scaled = boxes.double() * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y], dtype=torch.float64)
    limits = boxes.new_tensor([original[1], original[0]] * 2, dtype=torch.float64)
    return torch.minimum(scaled.clamp(min=0), limits)


def _to_arrays(outputs: list[dict], images: list[Tensor], infos: list[dict]) -> dict[str, np.ndarray]:
    """One batch as flat arrays; boxes that are empty after clipping are dropped."""
    if len(outputs) != len(infos):
        raise ValueError(f"the model returned {len(outputs)} results for {len(infos)} images")
    # (D, 6): box, score, label, as float32, which holds any label exactly; one transfer
    rows = [(o["boxes"].float(), o["scores"].float()[:, None], o["labels"].float()[:, None]) for o in outputs]
    flat = torch.cat([torch.cat(columns, dim=1) for columns in rows]).cpu().double()
    counts = [len(o["scores"]) for o in outputs]
    ids = np.repeat(np.array([int(info["image_id"]) for info in infos], dtype=np.int64), counts)
    bad = ~torch.isfinite(flat).all(dim=1).numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"the model returned a box or score that is not finite for image id {ids[row]}: box "
            f"{flat[row, :4].tolist()}, score {flat[row, 4].item()}. Did its weights become NaN in training?"
        )
    boxes = [
        original_boxes(part, tuple(image.shape[-2:]), (int(info["height"]), int(info["width"])))
        for part, image, info in zip(flat[:, :4].split(counts), images, infos, strict=True)
    ]
    xyxy = torch.cat(boxes).numpy()
    xywh = np.hstack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]])
    keep = (xywh[:, 2:] > 0).all(axis=1)
    corners = np.array([info.get("window", (0, 0))[:2] for info in infos], dtype=np.float64)
    xywh[:, :2] += np.repeat(corners, counts, axis=0)
    return {
        "image_id": ids[keep],
        "label": flat[:, 5].numpy().astype(np.int32)[keep],
        "score": flat[:, 4].numpy()[keep],
        "xywh": xywh[keep],
        "seen": np.array([int(info["image_id"]) for info in infos], dtype=np.int64),
    }


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    empty = {"image_id": np.zeros(0, np.int64), "label": np.zeros(0, np.int32), "score": np.zeros(0)}
    empty.update(xywh=np.zeros((0, 4)), seen=np.zeros(0, np.int64))
    return {name: np.concatenate([part[name] for part in [empty, *parts]]) for name in empty}


def _gathered(columns: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """The columns of all processes; of an image that several saw (padded shards), those of the first."""
    everyone: list[Any] = [None] * size
    torch.distributed.all_gather_object(everyone, columns)
    seen = np.zeros(0, np.int64)
    parts = []
    for part in everyone:
        new = ~np.isin(part["image_id"], seen)
        parts.append({name: values[new] if name != "seen" else values for name, values in part.items()})
        seen = np.union1d(seen, part["seen"])
    return _joined(parts)


def _shard(loader: Any, rank: int, size: int) -> Any:
    """This process's batches: of the loader's own shard if it makes shards, else every `size`-th image."""
    if size == 1:
        return loader
    if isinstance(loader, ShardedLoader):
        return loader.iterate(rank=rank, world_size=size)
    return _every(loader, rank, size)


def _every(loader: Any, rank: int, size: int) -> Iterator[tuple[list, list]]:
    place = 0
    for images, infos in loader:
        mine = [i for i in range(len(images)) if (place + i) % size == rank]
        place += len(images)
        yield [images[i] for i in mine], [infos[i] for i in mine]


def _progress(batches: Any, loader: Any, size: int, shown: bool) -> Any:
    if not shown:
        return batches
    total = -(-len(loader) // size) if hasattr(loader, "__len__") else None
    return tqdm(batches, total=total, desc="predict", unit="batch", leave=False, disable=None)
