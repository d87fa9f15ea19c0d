"""The reference cases of detectron2: weights by rule, inputs and expected numbers from a folder of recorded ones."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"


def load_case(name: str) -> tuple[dict, dict]:
    return json.loads((PARITY / f"{name}.json").read_text()), dict(np.load(PARITY / f"{name}.npz"))


def rule_weights(shapes: dict[str, list[int]], block_convs: int = 2) -> dict[str, torch.Tensor]:
    """Weights of every entry by its detectron2 name; constants are left out."""
    state = {}
    for name, shape in shapes.items():
        if name.endswith(("pixel_mean", "pixel_std")) or "cell_anchors" in name:
            continue
        rs = np.random.RandomState(zlib.crc32(name.encode()))
        if name.endswith(("running_mean", "norm.bias")):
            value = np.zeros(shape)
        elif name.endswith("running_var"):
            value = np.ones(shape)
        elif name.endswith("norm.weight"):
            value = np.full(shape, 0.25 if f".conv{block_convs}.norm" in name else 1.0)
        elif name.endswith("bias"):
            value = 0.01 * rs.standard_normal(shape)
        else:
            gain = 1.0
            if "bbox_pred" in name or "anchor_deltas" in name:
                gain = 0.01
            elif "cls_score" in name or "objectness_logits" in name:
                gain = 0.05
            elif "backbone.fpn" in name:
                gain = 0.5
            value = gain * np.sqrt(2 / np.prod(shape[1:])) * rs.standard_normal(shape)
        state[name] = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return state


def batch(arrays: dict) -> tuple[list[torch.Tensor], list[dict]]:
    """Pictures (stored BGR) as RGB, and targets."""
    images = [torch.from_numpy(arrays[f"image{i}"][::-1].copy()) for i in (0, 1)]
    targets = [
        {"boxes": torch.from_numpy(arrays[f"gt_boxes{i}"]), "labels": torch.from_numpy(arrays[f"gt_classes{i}"])}
        for i in (0, 1)
    ]
    return images, targets
