"""What is run beside detectron2 and recorded in numbers.json.

To record anew: `PYTHONPATH=DETECTRON2:. python tests/detectron2/runs.py`.

numbers.json holds, of small detectors with random weights and two pictures: the losses, the sum of all gradients and
the detections of detectron2's own model and of ours without remedies; ten training steps of twelve remedies; a test
pass of each.
"""

import json
import sys
from pathlib import Path

import torch
from detectron2.config import instantiate
from detectron2.utils.events import EventStorage

import imbdet.detectron2 as adapter
from imbdet.detectron2.configs import ours

sys.path.insert(0, str(Path(__file__).parent))
from models import MODELS, batch, data_set

NUMBERS = Path(__file__).with_name("numbers.json")
DATA = "imbdet_test_rows"
#: remedy -> model, remedies
REMEDIES = {
    "class_weights": ("faster_rcnn", ["class_weights"]),
    "effective_number": ("cascade_rcnn", ["effective_number"]),
    "ohem": ("faster_rcnn", [{"ohem": {"per_image": 32}}]),
    "hard_negative_mining": ("retinanet", ["hard_negative_mining"]),
    "softmax_focal_loss": ("faster_rcnn", ["softmax_focal_loss"]),
    "focal_loss": ("faster_rcnn", ["focal_loss"]),
    "quality_focal_loss": ("retinanet", ["quality_focal_loss"]),
    "ghm": ("retinanet", ["ghm_c", "ghm_r"]),
    "giou_loss": ("cascade_rcnn", ["giou_loss"]),
    "kl_loss": ("faster_rcnn", [{"kl_loss": {"voting": None}}]),
    "libra_samplers": ("faster_rcnn", ["iou_balanced_sampling", "instance_balanced_sampling", "balanced_l1_loss"]),
    "focal_loss@rpn": ("faster_rcnn", ["focal_loss@rpn", "foreground_balanced_sampling"]),
}


def neutral(name):
    """The model with our classes and nothing in their slots."""
    cfg = MODELS[name]()
    model = cfg.model
    if name == "retinanet":
        model._target_ = adapter.SlotsRetinaNet
        return cfg
    model.proposal_generator._target_ = adapter.SlotsRPN
    model.roi_heads._target_ = f"imbdet.detectron2.{ours('roi_heads', model.roi_heads._target_)}"
    for node in model.roi_heads.get("box_predictors") or [model.roi_heads.box_predictor]:
        node._target_ = adapter.Slots
    return cfg


def build(cfg, seed=0):
    torch.manual_seed(seed)
    return instantiate(cfg.model)


def step(model, data, seed=3):
    """{loss: value}, sum of the absolute gradients."""
    model.train()
    torch.manual_seed(seed)
    with EventStorage(0):
        losses = model(data)
    model.zero_grad()
    sum(losses.values()).backward()
    gradient = sum(p.grad.abs().sum().double() for p in model.parameters() if p.grad is not None)
    return {name: float(value.detach()) for name, value in losses.items()}, float(gradient)


def detect(model, data):
    """[detections, sum of their scores, sum of their coordinates] of each picture."""
    model.eval()
    with torch.no_grad():
        found = [one["instances"] for one in model(data)]
    return [[len(one), float(one.scores.sum()), float(one.pred_boxes.tensor.sum())] for one in found]


def pair(name):
    """detectron2's own model and ours, with the same weights."""
    theirs, mine = build(MODELS[name]()), build(neutral(name), 1)
    mine.load_state_dict(theirs.state_dict(), strict=False)
    return theirs, mine


def beside(name, empty=False):
    """{"detectron2": what its model says, "imbdet": what ours says}."""
    result = {}
    for who, model in zip(("detectron2", "imbdet"), pair(name), strict=True):
        losses, gradient = step(model, batch(empty))
        result[who] = {"losses": losses, "gradient": gradient, "detections": detect(model, batch(empty))}
    return result


def train(name, steps=10):
    """{"losses": total loss of each step, "detections": of a test pass afterwards} with a remedy of REMEDIES."""
    data_set(DATA)
    kind, remedies = REMEDIES[name]
    model = build(adapter.apply(MODELS[kind](), remedies, dataset=DATA))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    totals = []
    for i in range(steps):
        model.train()
        torch.manual_seed(i)
        with EventStorage(i):
            losses = model(batch())
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        totals.append(float(total.detach()))
    return {"losses": totals, "detections": detect(model, batch())}


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def main():
    torch.set_num_threads(1)
    numbers = {
        "neutral": {f"{name}{' empty' * empty}": beside(name, empty) for name in MODELS for empty in (False, True)},
        "training": {name: train(name) for name in REMEDIES},
    }
    NUMBERS.write_text(json.dumps(rounded(numbers), indent=1) + "\n")


if __name__ == "__main__":
    main()
