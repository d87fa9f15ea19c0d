"""Figures of the detectors: a training step and an inference beside torchvision's, and counts.

The two take turns in one process, and the figure is the median of the ratios of neighbors, so that whatever else the
machine does falls on both.
"""

import statistics
import time

import torch
from torch import Tensor

from imbdet.config import instantiate, load_config
from imbdet.modeling.count import OperatorCount, SavedBytes

from .peers import peer_batch, torchvision_peer

#: name -> config, overrides, size of a picture, images of the timed batch
CASES = {
    "faster_rcnn_shapes": ("baselines/faster_rcnn_shapes", [], (128, 128), 8),
    "retinanet_shapes": ("baselines/retinanet_shapes", [], (128, 128), 8),
    "faster_rcnn_r50": ("baselines/faster_rcnn_r50_coco", [], (256, 320), 2),
    "retinanet_r50": ("baselines/retinanet_r50_coco", [], (256, 320), 2),
}


def build_case(name: str, remedies=(), classes: int | None = None):
    """The detector of a case with random weights, and the size and number of its pictures."""
    config, overrides, size, images = CASES[name]
    cfg = load_config(config, remedies, overrides)
    cfg.train.max_iter = 1  # so that a remedy whose phases are shares of the training is in the last of them
    cfg.model.num_classes = classes or (80 if "r50" in name else 10)
    torch.manual_seed(0)
    return instantiate(cfg.model), size, images


def random_batch(images: int, size: tuple[int, int], classes: int, seed: int = 0) -> tuple[list[Tensor], list[dict]]:
    """Noise with 1 to 6 boxes a picture."""
    g = torch.Generator().manual_seed(seed)
    height, width = size
    pictures, targets = [], []
    for _ in range(images):
        pictures.append(torch.randint(0, 256, (3, height, width), generator=g, dtype=torch.uint8))
        m = int(torch.randint(1, 7, (1,), generator=g))
        scale = torch.tensor([width, height])
        corner = torch.rand(m, 2, generator=g) * 0.7 * scale
        extent = (0.1 + 0.2 * torch.rand(m, 2, generator=g)) * scale
        targets.append(
            {"boxes": torch.cat((corner, corner + extent), 1), "labels": torch.randint(0, classes, (m,), generator=g)}
        )
    return pictures, targets


def benchmark_detector(name: str, rounds: int = 10) -> dict:
    """One case of CASES against torchvision: seconds, ratios (torchvision / ours, above 1 is faster), operators.

    Returns:
        train_s, train_torchvision_s, train_ratio, inference_s, inference_torchvision_s, inference_ratio, and for 2 and
        8 images operators and synchronizations of a training step's forward, of both.
    """
    model, size, images = build_case(name)
    peer = torchvision_peer(model)
    two_stage = hasattr(model, "rpn")
    batches = {n: random_batch(n, size, model.num_classes) for n in {2, 8, images}}
    theirs = {n: peer_batch(*b, two_stage) for n, b in batches.items()}
    report: dict = {"case": name, "images": images, "size": f"{size[1]}x{size[0]}", "threads": torch.get_num_threads()}

    def train_ours():
        losses, _ = model(*batches[images])
        _backward(model, losses)

    def train_theirs():
        _backward(peer, peer(*peer_batch(*batches[images], two_stage)))

    model.train(), peer.train()
    report |= _alternate("train", train_ours, train_theirs, rounds)
    for n in (2, 8):
        for who, detector, batch in (("ours", model, batches[n]), ("torchvision", peer, theirs[n])):
            with OperatorCount() as count:
                detector(*batch)
            report[f"operators_{n}_{who}"] = count.operators
            report[f"synchronizations_{n}_{who}"] = count.synchronizations

    model.eval(), peer.eval()
    with torch.no_grad():
        pictures, floats = batches[images][0], theirs[images][0]
        report |= _alternate("inference", lambda: model(pictures), lambda: peer(floats), rounds)
    return report


def _backward(model, losses: dict) -> None:
    model.zero_grad()
    sum(losses.values()).backward()


def _alternate(what: str, ours, theirs, rounds: int) -> dict:
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 2):
        for column, action in zip(times, (ours, theirs), strict=True):
            begin = time.perf_counter()
            action()
            if i >= 2:  # the first ones prepare kernels
                column.append(time.perf_counter() - begin)
    return {
        f"{what}_s": statistics.median(times[0]),
        f"{what}_torchvision_s": statistics.median(times[1]),
        f"{what}_ratio": statistics.median(b / a for a, b in zip(*times, strict=True)),
    }


def benchmark_remedies(name: str, remedies: list[str], rounds: int = 10) -> list[dict]:
    """The plain detector of the case and each remedy that fits it: what a training step costs.

    Returns:
        rows of remedy, step_s, overhead (of the step against the plain detector's, in turns), parameters, saved_mib
        (kept for the backward), operators and synchronizations of the forward at 2 and 8 images; a remedy that the
        detector has no slot for, or that works on the data only, has the reason under "left_out".
    """
    plain, size, images = build_case(name)
    batches = {n: random_batch(n, size, plain.num_classes) for n in (2, 8, images)}
    base = load_config(CASES[name][0]).model

    def step(detector):
        losses, _ = detector(*batches[images])
        _backward(detector, losses)

    rows = [{"remedy": "(none)", **_counts(plain, batches, images)}]
    for remedy in remedies:
        try:
            model, _, _ = build_case(name, [remedy])
        except ValueError as error:
            rows.append({"remedy": remedy, "left_out": str(error).splitlines()[0]})
            continue
        if load_config(CASES[name][0], [remedy]).model == base:
            rows.append({"remedy": remedy, "left_out": "changes the data only: the step is the baseline's"})
            continue
        times = _alternate("step", lambda m=model: step(m), lambda: step(plain), rounds)
        cost = {"step_s": times["step_s"], "overhead": 1 / times["step_ratio"] - 1}
        rows.append({"remedy": remedy, **cost, **_counts(model, batches, images)})
    return rows


def _counts(model, batches: dict, images: int) -> dict:
    """What does not depend on the machine: parameters, memory for the backward, operators, synchronizations."""
    row = {"parameters": sum(p.numel() for p in model.parameters())}
    with SavedBytes() as saved:
        losses, _ = model(*batches[images])
    row["saved_mib"] = saved.total / 2**20
    del losses
    for n in (2, 8):
        with OperatorCount() as count:
            model(*batches[n])
        row |= {f"operators_{n}": count.operators, f"synchronizations_{n}": count.synchronizations}
    return row
