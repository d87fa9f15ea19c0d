"""Lists of pictures and targets -> padded tensors on the device, in a number of operators that does not grow with the
images.

Letters: N images, M objects of the fullest image.
"""

import numpy as np
import torch
from torch import Tensor, nn

from ..structures import Objects


class Preprocess(nn.Module):
    """uint8 RGB pictures of any sizes -> one normalized float batch, zero where padded.

    Args:
        mean, std: three numbers each, in 0..255, in the order of `channels`.
        channels: "RGB" or "BGR", the order that the backbone's weights expect (detectron2's MSRA weights: BGR).
        divisor: height and width are padded to a multiple of it (the coarsest stride of the neck's top-down path).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), channels: str = "RGB", divisor: int = 32
    ):
        super().__init__()
        if channels not in ("RGB", "BGR"):
            raise ValueError(f"channels must be RGB or BGR, got {channels!r}")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std need three numbers, std above 0; got {mean} and {std}")
        self.channels = channels
        self.divisor = divisor
        self.register_buffer("mean", torch.tensor(list(mean), dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std), dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: list[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Map images: uint8 (3, H, W) each -> batch (N, 3, H', W') float32, sizes [(H, W)] before padding."""
        sizes = [_checked_size(image, i) for i, image in enumerate(images)]
        height, width = (-(-max(s) // self.divisor) * self.divisor for s in zip(*sizes, strict=True))
        batch = _stack(images, sizes, height, width).to(self.mean.device, non_blocking=True)
        if self.channels == "BGR":
            batch = batch.flip(1)
        batch = batch.float().sub_(self.mean).div_(self.std)
        if any(size != (height, width) for size in sizes):
            limits = torch.tensor(sizes).to(batch.device, non_blocking=True)
            rows = torch.arange(height, device=batch.device) < limits[:, 0:1]
            columns = torch.arange(width, device=batch.device) < limits[:, 1:2]
            batch.mul_((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1))
        return batch, sizes


def _checked_size(image: Tensor, index: int) -> tuple[int, int]:
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[0] != 3 or min(image.shape[1:]) < 1:
        raise ValueError(
            f"image {index} of the batch is {image.dtype} {tuple(image.shape)}; "
            "the detector takes uint8 RGB tensors (3, H, W)"
        )
    return int(image.shape[1]), int(image.shape[2])


def _stack(images: list[Tensor], sizes, height: int, width: int) -> Tensor:
    if len(set(sizes)) == 1 and sizes[0] == (height, width):
        return torch.stack(images)
    if any(image.device.type != "cpu" for image in images):
        batch = images[0].new_zeros(len(images), 3, height, width)
        for row, image in zip(batch, images, strict=True):
            row[:, : image.shape[1], : image.shape[2]] = image
        return batch
    padded = np.zeros(
        (len(images), 3, height, width), dtype=np.uint8
    )  # on the host, so that one copy reaches the device
    for row, image, (h, w) in zip(padded, images, sizes, strict=True):
        row[:, :h, :w] = image.numpy()
    return torch.from_numpy(padded)


def pad_objects(targets: list[dict], device: torch.device, num_classes: int) -> Objects:
    """Map targets [{"boxes": (m, 4) XYXY, "labels": (m,)}] -> Objects of N images.

    Raises:
        ValueError: a target that lacks a key, has boxes and labels of different length or, on the host, a label outside
            0..K-1.
    """
    counts = []
    for i, target in enumerate(targets):
        boxes, labels = target.get("boxes"), target.get("labels")
        if boxes is None or labels is None or boxes.dim() != 2 or boxes.shape[1] != 4 or len(boxes) != len(labels):
            shapes = {k: tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for k, v in target.items()}
            raise ValueError(f"target {i} must have boxes (m, 4) and labels (m,), got {shapes}")
        counts.append(len(labels))
    boxes = torch.cat([t["boxes"] for t in targets]).to(torch.float32)
    labels = torch.cat([t["labels"] for t in targets]).to(torch.int64)
    if labels.device.type == "cpu" and len(labels):  # on the host the check is free
        low, high = int(labels.numpy().min()), int(labels.numpy().max())
        if low < 0 or high >= num_classes:
            raise ValueError(f"labels must be in 0..{num_classes - 1}, got {low}..{high}")

    n, m = len(counts), max(1, *counts)
    starts = np.cumsum([0, *counts[:-1]])[:, None]
    index = np.arange(m)[None]
    real = index < np.array(counts)[:, None]
    flat = np.where(real, index + starts, 0)
    if not len(labels):
        empty = torch.zeros(n, m, 4, device=device)
        return Objects(empty, empty[..., 0].long(), empty[..., 0].bool())
    valid = torch.from_numpy(real).to(boxes.device)
    rows = torch.from_numpy(flat).to(boxes.device).view(-1)
    padded = boxes[rows].view(n, m, 4) * valid.unsqueeze(-1)
    return Objects(
        padded.to(device, non_blocking=True),
        (labels[rows].view(n, m) * valid).to(device, non_blocking=True),
        valid.to(device, non_blocking=True),
    )
