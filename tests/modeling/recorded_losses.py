"""The losses of the first steps of six detectors, recorded: what is rebuilt must give the same numbers.

    python -m tests.modeling.recorded_losses      records them anew, where numbers change on purpose

Steps of plain SGD on drawn pictures, one of them without objects, weights and sampling by seed.
"""

import json
from pathlib import Path

import torch

from imbdet.testing import batch, tiny_detector

FILE = Path(__file__).with_suffix(".json")
STEPS = 3
DETECTORS = {
    "RetinaNet": ("retinanet", ()),
    "Faster R-CNN": ("faster_rcnn", ()),
    "Cascade R-CNN": ("faster_rcnn", ("cascade_rcnn",)),
    "hierarchical shot": ("retinanet", ("hierarchical_shot",)),
    "adversarial dropout": ("faster_rcnn", ("adversarial_spatial_dropout",)),
    "IoU-uniform regions": ("faster_rcnn", ("iou_uniform_rois",)),
}


def first_losses(name: str) -> list[dict[str, float]]:
    """{loss: value} of each step."""
    model, found = tiny_detector(*DETECTORS[name]), []
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    for step in range(STEPS):
        torch.manual_seed(step)
        losses, _ = model(*batch(3, 0, 1, seed=step))
        found.append({key: value.item() for key, value in sorted(losses.items())})
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    FILE.write_text(json.dumps({name: first_losses(name) for name in DETECTORS}, indent=1) + "\n", encoding="utf-8")
