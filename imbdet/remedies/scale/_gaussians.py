"""Boxes as Gaussians: mean at the center, standard deviations half the sides.

Letters: boxes are XYXY (..., 4) in pixels, and broadcast against each other.
"""

import torch
from torch import Tensor

ZERO = 1e-3  #: pixels; below, the distance is a parabola, so that its gradient is finite at 0


def wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Return 2-Wasserstein distance of two boxes' Gaussians, pixels: sqrt(dx^2 + dy^2 + (dw^2 + dh^2) / 4)."""
    center = 0.5 * ((a[..., :2] - b[..., :2]) + (a[..., 2:] - b[..., 2:]))
    half = 0.5 * ((a[..., 2:] - a[..., :2]) - (b[..., 2:] - b[..., :2]))
    squared = center.square().sum(dim=-1) + half.square().sum(dim=-1)
    return torch.sqrt(squared + ZERO**2) - ZERO


def normalized_wasserstein(a: Tensor, b: Tensor, size: float) -> Tensor:
    """Return NWD = exp(-W / size), 0..1."""
    return torch.exp(-wasserstein(a, b) / size)


def kl_divergence(a: Tensor, b: Tensor) -> Tensor:
    """Return KL(a || b) of two boxes' Gaussians, 0 or more; a side below a thousandth of a pixel counts as one."""
    wa, wb = ((x[..., 2:] - x[..., :2]).clamp(min=1e-3) for x in (a, b))
    offset = (a[..., :2] - b[..., :2]) + (a[..., 2:] - b[..., 2:])  # twice that of the centers
    ratio = wa / wb
    return 0.5 * (ratio.square() + (offset / wb).square() - 1 - 2 * ratio.log()).sum(dim=-1)


def check_size(size: float) -> float:
    """Raise ValueError unless above 0."""
    if not size > 0:
        raise ValueError(f"size is the size of an object in pixels, above 0, got {size}")
    return float(size)
