"""Part `parity`: the recorded losses, gradients and detections of detectron2, on the device."""

import os
from typing import Any

import torch

from .cases import exact
from .child import figures

LOSSES = 1e-4
GRADIENTS = 1e-3  #: one activation that rounds to the other side of 0 moves a norm by 1e-4
PIXELS, SCORES = 0.01, 1e-4


def units(small: bool) -> list[str]:
    from tests.modeling.parity import CASES

    return list(CASES)


def run(unit: str, device: str, small: bool) -> dict:
    from tests.modeling.parity import PARITY, batch, reference_detector

    if not PARITY.is_dir():
        return {"skipped": f"the recorded cases are not at {os.path.relpath(PARITY)}"}
    row: dict[str, Any] = {"short": []}
    with exact():
        model, expected, arrays = reference_detector(unit)
        images, targets = batch(arrays)
        model.to(device).train()
        losses, _ = model(images, targets)
        sum(losses.values()).backward()
        norms = {n: float(p.grad.norm()) for n, p in model.named_parameters() if p.grad is not None}
        model.eval()
        with torch.no_grad():
            found = model(images)
    row["losses"] = _worst({k: float(v.detach()) for k, v in losses.items()}, expected["losses"])
    row["gradients"] = _worst(norms, expected["grad_norms_of_ours"])
    row["detections"] = sum(len(one["scores"]) for one in found)
    row["of"] = sum(len(arrays[f"scores{i}"]) for i in range(len(found)))
    row["alike"] = sum(_alike(one, arrays, i) for i, one in enumerate(found))
    if row["losses"] > LOSSES:
        row["short"].append(f"losses differ by {row['losses']:.2g}")
    if row["gradients"] > GRADIENTS:
        row["short"].append(f"norms of gradients differ by {row['gradients']:.2g}")
    if not row["detections"] == row["of"] == row["alike"]:
        row["short"].append(f"{row['detections']} detections for {row['of']}, {row['alike']} alike")
    return figures(**row)


def _worst(these: dict[str, float], those: dict[str, float]) -> float:
    if these.keys() != those.keys():
        return float("inf")
    return max(abs(these[k] - x) / max(abs(x), 1e-12) for k, x in those.items())


def _alike(found: dict, arrays: dict, i: int) -> int:
    """How many recorded detections have exactly one found beside them."""
    boxes, scores, labels = (torch.from_numpy(arrays[f"{k}{i}"]) for k in ("boxes", "scores", "classes"))
    near = (found["boxes"].cpu()[:, None] - boxes[None]).abs().amax(-1) < PIXELS
    near &= (found["scores"].cpu()[:, None] - scores[None]).abs() < SCORES
    near &= found["labels"].cpu()[:, None] == labels[None]
    return int((near.sum(0) == 1).sum())
