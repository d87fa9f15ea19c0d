"""Evaluation during training: COCO metrics, losses on the validation set, pictures. It leaves no trace in the training.

How it leaves none: the generators are restored afterwards; weights do not change (no gradient; the EMA's are swapped
in and out); for the losses the detector is in training mode with its batch norm layers in eval mode, and every buffer
(running statistics, moving normalizers of losses) is put back to what it was. The losses draw the same random regions
at every evaluation.
"""

import contextlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.utils import draw_bounding_boxes

from ..data.augment import cut
from ..data.loader import ShardedLoader
from ..evaluation.coco import evaluate_coco
from ..evaluation.inference import predict
from ..evaluation.metrics import EVALUATED
from .build import Built, Run
from .meters import loss_tag, read_stats
from .seed import preserved_rng
from .stop import signals_blocked

SHOWN_SCORE = 0.3  #: predictions below it are not drawn
GREEN, ORANGE = (40, 200, 60), (255, 140, 0)


def validate(run: Run) -> dict[str, Any]:
    """Evaluate the weights of now. Collective.

    Returns {"scalars": tag -> number, "histograms", "pictures": tag -> uint8 (3, H, W), "result": evaluation Result},
    filled in process 0; elsewhere only "scalars" may be relied on to have the same metrics.
    """
    settings, model = run.settings, run.model
    report: dict[str, Any] = {"scalars": {}, "histograms": {}, "pictures": {}, "result": None}
    modes = {module: module.training for module in model.modules()}
    with preserved_rng(settings.seed), run.evaluated_weights(), torch.no_grad():
        try:
            model.eval()
            detections = _predict(run)
            if run.world.main:
                with warnings.catch_warnings():  # they are in the result too, which is printed at the end
                    warnings.simplefilter("ignore")
                    result = evaluate_coco(run.val_records, detections, run.train_records)
                report["result"] = result
                report["scalars"] = metric_scalars(result)
                report["pictures"] = draw(run, settings.val_pictures)
                losses, histograms = validation_losses(run, settings.val_loss_batches)
                report["scalars"].update(losses)
                report["histograms"] = histograms
        finally:
            for module, training in modes.items():
                module.training = training
    report["scalars"] = run.world.gather(report["scalars"])[0]
    return report


def _predict(run: Run) -> Any:
    """Detections of the whole split, in every process; the processes share the work."""
    if not run.best.evaluated and isinstance(run.val_loader, ShardedLoader):
        with signals_blocked():  # the first use starts the loader's workers
            run.val_loader.iterate(run.world.rank, run.world.size)
    with run.autocast():
        return predict(run.model, run.val_loader, shared=run.world.size > 1)


def metric_scalars(result: Any) -> dict[str, float]:
    """Return the tags of TensorBoard: the twelve numbers and the groups under AP/ and AR/, each class under
    AP_per_class/.

    A metric that is not defined (-1: no such object) is left out.
    """
    scalars = {f"{name[:2]}/{name}": value for name, value in result.metrics.items() if value != -1.0}
    for row in result.per_class:
        if row["AP"] is not None:
            scalars[f"AP_per_class/{row['name']}"] = row["AP"]
    return scalars


def metric_of(scalars: dict[str, float], name: str) -> float | None:
    """`train.best_metric` among the scalars: "AP", "APr" ..., a class's name, or any tag such as "loss/total"."""
    for tag in (name, f"{name[:2]}/{name}", f"AP_per_class/{name}"):
        if tag in scalars:
            return scalars[tag]
    return None


def known_metrics(run: Built) -> list[str]:
    """Return what `train.best_metric` may be."""
    return [
        *EVALUATED,
        *getattr(run.val_records, "class_names", ()),
        *(["loss/total"] if run.settings.val_loss_batches else []),
    ]


def is_better(name: str, value: float, best: float | None) -> bool:
    """Return whether a value is better than the best so far: losses when smaller, all else when larger."""
    if best is None:
        return True
    return value < best if name.startswith("loss/") else value > best


def targets_of(records: Any, infos: list[dict], images: list[Tensor]) -> list[dict]:
    """Return the objects of a batch of the evaluation loader, in pixels of the resized images."""
    where = {int(image_id): index for index, image_id in enumerate(records.image_ids)}
    targets = []
    for image, info in zip(images, infos, strict=True):
        target = records.target(where[int(info["image_id"])])
        if "window" in info:
            target = cut(target, *info["window"])
        scale_x, scale_y = image.shape[-1] / info["width"], image.shape[-2] / info["height"]
        boxes = target["boxes"] * torch.tensor([scale_x, scale_y, scale_x, scale_y])
        targets.append({"boxes": boxes, "labels": target["labels"], "image_id": int(info["image_id"])})
    return targets


def validation_losses(run: Run, batches: int) -> tuple[dict[str, float], dict[str, dict]]:
    """Return mean losses of the first `batches` batches (0: none) in training mode; see the top of this file."""
    if not batches:
        return {}, {}
    totals: dict[str, float] = {}
    count, stats = 0, {}
    with observing(run.model), run.autocast():
        for images, infos in itertools.islice(iter(run.val_loader), batches):
            losses, stats = run.model(images, targets_of(run.val_records, infos, images))
            count += 1
            for name, loss in losses.items():
                totals[loss_tag(name)] = totals.get(loss_tag(name), 0.0) + float(loss)
    if not count:
        return {}, {}
    means = {tag: value / count for tag, value in totals.items()}
    scalars, histograms = read_stats(stats, run.groups)
    return {"loss/total": sum(means.values()), **means, **scalars}, histograms


@contextlib.contextmanager
def observing(model: nn.Module) -> Iterator[None]:
    """Hold the model in a training mode that changes nothing: batch norm in eval mode, buffers restored at the end."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    try:
        yield
    finally:
        for name, value in model.named_buffers():
            value.copy_(buffers[name])


def draw(run: Run, count: int) -> dict[str, Tensor]:
    """Draw the first `count` validation images with objects: true boxes green, predicted ones orange with class and
    score.
    """
    pictures: dict[str, Tensor] = {}
    if count <= 0:
        return pictures
    names = run.val_records.class_names
    for images, infos in iter(run.val_loader):
        targets = targets_of(run.val_records, infos, images)
        wanted = [i for i, target in enumerate(targets) if len(target["boxes"])][: count - len(pictures)]
        if wanted:
            with run.autocast():
                found = run.model([images[i] for i in wanted])
            for i, detections in zip(wanted, found, strict=True):
                name = f"pictures/{targets[i]['image_id']}"  # of tiles the first, which is the whole
                pictures.setdefault(name, draw_boxes(images[i], targets[i], detections, names))
        if len(pictures) >= count:
            break
    return pictures


def draw_boxes(image: Tensor, target: dict, detections: dict, names: Any) -> Tensor:
    """Return the picture, uint8 (3, H, W), with both sets of boxes."""
    picture = image.detach().cpu()
    if len(target["boxes"]):
        picture = draw_bounding_boxes(picture, target["boxes"], colors=GREEN)
    keep = detections["scores"] > SHOWN_SCORE
    boxes, labels = detections["boxes"][keep].float().cpu(), detections["labels"][keep].tolist()
    if len(boxes):
        texts = [
            f"{names[label]} {score:.2f}"
            for label, score in zip(labels, detections["scores"][keep].tolist(), strict=True)
        ]
        picture = draw_bounding_boxes(picture, boxes, labels=texts, colors=ORANGE)
    return picture
