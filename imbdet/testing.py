"""Small inputs for tests and examples: matched regions, a batch of pictures, a tiny detector.

Letters: N images, R regions of the batch, K classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .config import instantiate, load_config
from .modeling.boxes import BoxCoder, paired_iou
from .structures import Matched

#: overrides that make a shapes config a detector of some thousand parameters on twelve pictures
SMALL = (
    "data.train.num_images=12",
    "dataloader.train.batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.train.cache_bytes=0",
    "model.backbone.widths=[8,8,16,16,16]",
    "model.neck.channels=16",
)


def random_boxes(n: int, seed: int = 0, size: float = 100.0) -> Tensor:
    """Draw boxes (n, 4) XYXY in pixels: corners in 0..size, sides from 1 to 1 + size / 2."""
    g = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=g) * size
    return torch.cat((corner, corner + 1 + torch.rand(n, 2, generator=g) * size / 2), dim=1)


def regions(
    labels: Any,
    num_classes: int,
    *,
    num_images: int = 1,
    boxes: Any = None,
    targets: Any = None,
    iou: Any = None,
    objects: Any = None,
    levels: Any = None,
    deltas: Tensor | None = None,
    seed: int = 0,
) -> Matched:
    """Make matched regions, the flat batch that every slot of training sees.

    Args:
        labels: (R,), list or tensor: 0..K-1 a class, K background, -1 ignored. (N, A) is a row for each image.
        num_classes: K.
        num_images: N, which share the regions equally, in order; for labels (R,) only.
        boxes: (R, 4) XYXY; random ones by default.
        targets: (R, 4) box of the object of each region; by default the region moved by up to a tenth of its size.
            Where a region is not foreground, its target is the region itself, as it always is.
        iou: (R,); by default that of region and target for foreground, 0 elsewhere.
        objects: (R,) index of the object; by default each foreground region has one of its own, the others -1.
        levels: (R,) of the pyramid; 0 by default.
        deltas: (R, 4) that the head is said to have predicted; 0 by default.
        seed: of what is random.

    Raises:
        ValueError: a label outside of -1..K, or regions that the images cannot share equally.

    Example:
        >>> matched = regions([0, 2, -1], num_classes=2)
        >>> matched.foreground.tolist(), matched.background.tolist()
        ([True, False, False], [False, True, False])
    """
    labels, num_images = _flat(torch.as_tensor(labels, dtype=torch.int64), num_classes, num_images)
    r = len(labels)
    foreground = (labels >= 0) & (labels < num_classes)
    boxes = random_boxes(r, seed) if boxes is None else _floats(boxes, 4)
    targets = _moved(boxes, seed) if targets is None else _floats(targets, 4).to(boxes.dtype)
    targets = torch.where(foreground[:, None], targets, boxes)
    if iou is None:
        iou = torch.where(foreground, paired_iou(boxes, targets), 0.0)
    if objects is None:
        objects = torch.where(foreground, foreground.cumsum(0) - 1, -1)
    return Matched(
        labels=labels,
        objects=torch.as_tensor(objects, dtype=torch.int64).reshape(-1),
        iou=_floats(iou),
        images=torch.arange(num_images).repeat_interleave(r // num_images),
        levels=torch.zeros(r, dtype=torch.int64) if levels is None else torch.as_tensor(levels, dtype=torch.int64),
        boxes=boxes,
        targets=targets,
        num_classes=num_classes,
        num_images=num_images,
        deltas=torch.zeros(r, 4) if deltas is None else deltas,
        box_coder=BoxCoder(),
    )


def _flat(labels: Tensor, num_classes: int, num_images: int) -> tuple[Tensor, int]:
    """Labels (R,) of (R,) or (N, A), and N."""
    if labels.dim() == 2:
        num_images, labels = len(labels), labels.reshape(-1)
    if len(labels) % num_images:
        raise ValueError(f"{num_images} images cannot share {len(labels)} regions equally")
    if len(labels) and not -1 <= int(labels.min()) <= int(labels.max()) <= num_classes:
        raise ValueError(f"labels are -1..{num_classes} (background), got {sorted(set(labels.tolist()))}")
    return labels, num_images


def _floats(values: Any, columns: int = 0) -> Tensor:
    values = torch.as_tensor(values)
    values = values if values.is_floating_point() else values.float()
    return values.reshape(-1, columns) if columns else values.reshape(-1)


def _moved(boxes: Tensor, seed: int) -> Tensor:
    """Each box moved by up to a tenth of its size in both directions."""
    g = torch.Generator().manual_seed(seed + 1)
    share = 0.2 * torch.rand(len(boxes), 2, generator=g) - 0.1
    return boxes + (share * (boxes[:, 2:] - boxes[:, :2])).repeat(1, 2)


def batch(*counts: int, size: int = 128, seed: int = 0, num_classes: int = 10) -> tuple[list[Tensor], list[dict]]:
    """Draw dark noise with as many bright squares of 30 pixels as asked: one picture a number, 0 for none.

    Returns:
        images uint8 (3, size, size), targets {"boxes": (m, 4), "labels": (m,)}; the labels count 0, 1, 2 ... K-1, 0.

    Example:
        >>> images, targets = batch(2, 0)
        >>> [len(target["labels"]) for target in targets]
        [2, 0]
    """
    g = torch.Generator().manual_seed(seed)
    images, targets = [], []
    for m in counts:
        image = torch.randint(0, 60, (3, size, size), generator=g, dtype=torch.uint8)
        boxes = torch.randint(0, size - 40, (m, 2), generator=g).float()
        boxes = torch.cat((boxes, boxes + 30), dim=1)
        for i, (x1, y1, x2, y2) in enumerate(boxes.int().tolist()):
            image[i % 3, y1:y2, x1:x2] = 255
        images.append(image)
        targets.append({"boxes": boxes, "labels": torch.arange(m) % num_classes})
    return images, targets


def tiny_config(detector: str = "faster_rcnn", remedies: Sequence[str] = (), overrides: Sequence[str] = ()) -> Any:
    """Load the shapes config of "faster_rcnn" or "retinanet", made small, with remedies by name or file."""
    small = [*SMALL, "model.roi_heads.box_head.widths=[16]"] if detector == "faster_rcnn" else SMALL
    return load_config(f"baselines/{detector}_shapes", list(remedies), [*small, *overrides])


def tiny_detector(detector: str = "faster_rcnn", remedies: Sequence[str] = (), seed: int = 0) -> Any:
    """Build the detector of `tiny_config` with weights of the seed, ready for training; it has ten classes.

    Example:
        >>> losses, stats = tiny_detector("retinanet")(*batch(2, 0))
        >>> sorted(losses)
        ['loss_box_reg', 'loss_cls']
    """
    torch.manual_seed(seed)
    return instantiate(tiny_config(detector, remedies).model).train()
