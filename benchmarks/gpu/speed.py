"""Part `speed`: training step, inference and memory beside torchvision's detectors with the same weights and settings,
and beside detectron2's where its source tree can be imported; where the time of our step goes.

Both sides take turns; what counts is the median of the ratios. Convolutions may use TF32, as torch has it by default.
"""

import statistics
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..detectors import build_case, random_batch
from ..peers import peer_batch, torchvision_peer
from .child import figures
from .clock import memory_of, seconds_of, wait
from .modes import SIZES, SMALL

SLOWEST = 1.0  #: the least ratio (peer's time / ours) that is no shortfall
TOP = 15


def units(small: bool) -> list[str]:
    cases = [case for case in SIZES if case.endswith("_shapes") or not small]
    beside = [f"{case}:{precision}" for precision in ("float32", "bfloat16") for case in cases]
    detectron2 = [f"{case}:detectron2" for case in SIZES if "r50" in case]
    return [*beside, *(f"{case}:profile" for case in cases), *detectron2]


def run(unit: str, device: str, small: bool) -> dict:
    case, _, what = unit.partition(":")
    if what == "detectron2" and find_spec("detectron2") is None:
        return {"skipped": "detectron2 is not importable (PYTHONPATH of its source tree)"}
    size, images = SMALL if small else SIZES[case]
    model = build_case(case)[0].to(device)
    given = random_batch(images, size, model.num_classes)
    if what == "profile":
        return _profile(model.train(), given, device, small)
    dtype = torch.bfloat16 if what == "bfloat16" else None
    if what == "detectron2":
        from detectron2.utils.events import EventStorage

        peer, theirs = _detectron2(case, device), _detectron2_batch(given, size)

        def train() -> dict:
            with EventStorage():
                return peer(theirs)

        test: Callable = lambda: peer(theirs)  # noqa: E731
    else:
        peer = torchvision_peer(model).to(device)
        pictures, targets = peer_batch(*given, hasattr(model, "rpn"))
        train = lambda: peer(_on(pictures, device), [_moved(t, device) for t in targets])  # noqa: E731
        test = lambda: peer(_on(pictures, device))  # noqa: E731
    rounds = 2 if small else 10
    row: dict[str, Any] = {"images": images, "size": f"{size[1]}x{size[0]}", "short": []}
    with torch.autocast(device, dtype, enabled=dtype is not None):
        model.train(), peer.train()
        steps = _step(model, lambda: model(*given)[0]), _step(peer, train)
        row |= _turns("train", *steps, device, rounds, images)
        row |= {"memory_MiB": memory_of(steps[0], device), "peer_memory_MiB": memory_of(steps[1], device)}
        model.eval(), peer.eval()
        with torch.no_grad():
            row |= _turns("inference", lambda: model(given[0]), test, device, rounds, images)
    if not small:
        slow = [
            f"{what} {row[f'{what}_ratio']:.2f}" for what in ("train", "inference") if row[f"{what}_ratio"] < SLOWEST
        ]
        row["short"] += [f"slower than its peer: {', '.join(slow)}"] if slow else []
    return figures(**row)


def _on(pictures: list, device: str) -> list:
    return [picture.to(device, non_blocking=True) for picture in pictures]


def _moved(target: dict, device: str) -> dict:
    return {name: value.to(device, non_blocking=True) for name, value in target.items()}


def _step(model: Any, losses: Callable[[], dict]) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        sum(losses().values()).backward()

    return step


def _turns(what: str, ours: Callable, theirs: Callable, device: str, rounds: int, images: int) -> dict:
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(rounds + 3):  # the first ones prepare kernels
        for column, action in zip(times, (ours, theirs), strict=True):
            seconds = seconds_of(action, device)
            if i >= 3:
                column.append(seconds)
    own = statistics.median(times[0])
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return {
        f"{what}_s": own,
        f"{what}_peer_s": statistics.median(times[1]),
        f"{what}_ratio": ratio,
        f"{what}_images_per_s": images / own,
    }


def _profile(model: Any, given: tuple, device: str, small: bool) -> dict:
    """The operators that take most of a training step, by their own time on the device."""
    step = _step(model, lambda: model(*given)[0])
    for _ in range(3):
        step()
    steps, activities = 1 if small else 3, [torch.profiler.ProfilerActivity.CPU]
    if device != "cpu":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    wait(device)
    with torch.profiler.profile(activities=activities) as profile:
        wall = sum(seconds_of(step, device) for _ in range(steps)) / steps
    name = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    # operators only: a kernel has a row of its own besides, with the same time
    operators = [e for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CPU]
    events = [e for e in operators if getattr(e, name) > 0]
    total = sum(getattr(e, name) for e in events)
    events.sort(key=lambda e: getattr(e, name), reverse=True)
    top = [
        {"name": e.key[:90], "share": round(getattr(e, name) / total, 4), "calls": e.count / steps}
        for e in events[:TOP]
    ]
    return figures(step_s=wall, busy=total / 1e6 / steps / wall, top=top, short=[] if top else ["nothing was recorded"])


def _detectron2(case: str, device: str) -> Any:
    """detectron2's own detector of the R50-FPN 1x schedule, random weights."""
    import detectron2
    from detectron2.config import LazyConfig, instantiate

    tree = Path(detectron2.__file__).parents[1] / "configs" / "common" / "models"
    name = "retinanet.py" if case.startswith("retinanet") else "mask_rcnn_fpn.py"
    model = LazyConfig.load(str(tree / name)).model
    for mask in ("mask_in_features", "mask_pooler", "mask_head"):
        if "roi_heads" in model:
            model.roi_heads.pop(mask)
    torch.manual_seed(0)
    return instantiate(model).to(device)


def _detectron2_batch(given: tuple, size: tuple[int, int]) -> list[dict]:
    from detectron2.structures import Boxes, Instances

    batch = []
    for image, target in zip(*given, strict=True):
        instances = Instances(size, gt_boxes=Boxes(target["boxes"]), gt_classes=target["labels"])
        batch.append({"image": image, "instances": instances, "height": size[0], "width": size[1]})
    return batch
