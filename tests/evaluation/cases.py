"""Small ground truths and their perfect detections, for the tests of this folder."""

import copy
import json

import torch
from torch import nn

SPLITS = ("train", "val", "test")


def truth(boxes=4, classes=2, images=2, **fields):
    """COCO ground truth: `boxes` objects of 40 x 50 pixels, apart from each other, dealt out to images and classes."""
    annotations = [
        {
            "id": i + 1,
            "image_id": 10 + i % images,
            "category_id": 1 + (i // images) % classes,
            "bbox": [60 * (i // images), 5, 40, 50],
            "area": 2000,
            "iscrowd": 0,
            **fields,
        }
        for i in range(boxes)
    ]
    return {
        "images": [{"id": 10 + i, "width": 10_000, "height": 100} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": 1 + k, "name": f"class {k}"} for k in range(classes)],
    }


def perfect(document, score=0.9):
    """COCO results with each object's own box."""
    rows = copy.deepcopy(document["annotations"])
    return [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": score} for a in rows
    ]


class Guess(nn.Module):
    """A detector of one weight: in every image a box of label `label` over its left half, with the score 0.75."""

    def __init__(self, label=0):
        super().__init__()
        self.label = label
        self.share = nn.Parameter(torch.tensor(0.1))

    def forward(self, images):
        found = {"scores": torch.tensor([0.75]), "labels": torch.tensor([self.label])}
        shares = torch.stack([self.share * 0, self.share * 0, self.share, self.share * 0 + 1])
        return [{"boxes": (shares * torch.tensor(i.shape)[[2, 1, 2, 1]])[None], **found} for i in images]


def write_run(folder, data, share=0.5):
    """A run of `Guess` on a COCO-format folder, as training would leave it: config.yaml and best.pth."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = {s: {"_target_": "imbdet.data.datasets.folder.coco_folder", "root": str(data), "split": s} for s in SPLITS}
    loaders = {
        s: {
            "_target_": "imbdet.data.loader.EvalLoader",
            "records": f"${{data.{s}}}",
            "resize": {"_target_": "imbdet.data.augment.ResizeShortestEdge", "short_edge_length": 40},
            "batch_size": 2,
            "num_workers": 0,
        }
        for s in ("val", "test")
    }
    model = {"_target_": "tests.evaluation.cases.Guess", "label": 0}
    config = {"model": model, "data": splits, "dataloader": loaders, "train": {"device": "cpu"}, "remedies": []}
    (folder / "config.yaml").write_text(json.dumps(config))
    detector = Guess()
    detector.share.data.fill_(share)
    torch.save({"model": detector.state_dict(), "iteration": 3}, folder / "best.pth")
    return folder
