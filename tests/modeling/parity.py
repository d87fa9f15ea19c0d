"""The reference cases of detectron2: weights by rule, inputs and expected numbers from a folder of recorded ones."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.detectron2_weights import load_detectron2_weights, our_name

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"

SLIM = [
    "model.backbone.name=resnet18",
    "model.backbone.stride_in_1x1=false",
    "model.neck.channels=32",
    "model.preprocess.std=[57.375, 57.12, 58.395]",
]
RCNN = [
    "model.roi_heads.box_head.widths=[64, 64]",
    "model.rpn.before_nms=[300, 300]",
    "model.rpn.after_nms=[100, 100]",
    "model.rpn.criterion.region_sampler.per_image=100000",
    "model.roi_heads.criterion.region_sampler.per_image=100000",
]
CASES = {
    "faster_rcnn_r18": ("baselines/faster_rcnn_r50_coco", SLIM + RCNN),
    "retinanet_r18": ("baselines/retinanet_r50_coco", SLIM),
    "cascade_rcnn_r18": ("baselines/faster_rcnn_r50_coco", SLIM + RCNN, "cascade_rcnn"),
}


def reference_detector(name: str) -> tuple[torch.nn.Module, dict, dict]:
    """Our detector of a case with its weights, what is expected of it, and its arrays.

    `grad_norms_of_ours` holds the expected norms by our names.
    """
    config, overrides, *remedies = CASES[name]
    expected, arrays = load_case(name)
    cfg = load_config(config, remedies, overrides)
    cfg.model.num_classes = 5
    model = instantiate(cfg.model)
    load_detectron2_weights(model, rule_weights(expected["state"]))
    expected["grad_norms_of_ours"] = {our_name(n): v for n, v in expected["grad_norms"].items()}
    return model, expected, arrays


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
