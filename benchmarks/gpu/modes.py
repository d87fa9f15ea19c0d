"""Part `modes`: float32 exact and with TF32, mixed precision, channels-last, torch.compile: losses, time of a step.

The losses of a mode are compared with exact float32's for the same weights, batch, draws and proposals. The step that
is timed is the whole one: forward, backward, loss scaling, optimizer.
"""

import contextlib
import math
from typing import Any

import torch

from ..detectors import build_case, random_batch
from .cases import Proposals, difference, exact, one_step
from .child import figures
from .clock import seconds_of, wait

#: name -> precision of autocast, TF32, channels-last, compiled; largest relative difference of a loss
MODES: dict[str, tuple[torch.dtype | None, bool, bool, bool, float]] = {
    "float32": (None, False, False, False, 1e-5),
    "tf32": (None, True, False, False, 1e-2),
    "bfloat16": (torch.bfloat16, True, False, False, 3e-2),
    "float16": (torch.float16, True, False, False, 1e-2),
    "channels_last": (None, False, True, False, 1e-3),
    "channels_last+bfloat16": (torch.bfloat16, True, True, False, 3e-2),
    "compile": (None, False, False, True, 1e-3),
    "compile+bfloat16": (torch.bfloat16, True, False, True, 3e-2),
}
#: case of the benchmarks -> size and number of the pictures
SIZES = {
    "faster_rcnn_shapes": ((128, 128), 8),
    "retinanet_shapes": ((128, 128), 8),
    "faster_rcnn_r50": ((800, 1088), 4),
    "retinanet_r50": ((800, 1088), 4),
}
GPU_ONLY = ("tf32", "float16", "channels_last+bfloat16")
SMALL = ((64, 64), 2)


def units(small: bool) -> list[str]:
    cases = [case for case in SIZES if case.endswith("_shapes") or not small]
    plain = [mode for mode in MODES if "compile" not in mode and not (small and mode in GPU_ONLY)]
    compiled = ["retinanet_shapes:compile", *(["faster_rcnn_shapes:compile"] if not small else [])]
    compiled += [f"{case}:compile+bfloat16" for case in cases if "r50" in case]
    return [*(f"{case}:{mode}" for mode in plain for case in cases), *compiled]  # the slow ones last


def run(unit: str, device: str, small: bool) -> dict:
    case, _, mode = unit.partition(":")
    dtype, tf32, last, compiled, most = MODES[mode]
    size, images = SMALL if small else SIZES[case]
    model = build_case(case)[0].to(device).train()
    given, proposals = random_batch(images, size, model.num_classes), Proposals()
    with exact():
        reference, _ = one_step(model, given, proposals, record=True, draws=contextlib.nullcontext)
    if last:
        model.to(memory_format=torch.channels_last)
    with contextlib.nullcontext() if tf32 else exact(), allowed(tf32):
        if compiled:  # in place, as `train.compile` does; a compiled model is not copied
            model.backbone.compile()
        losses, _ = one_step(model, given, proposals, False, dtype, copied=not compiled, draws=contextlib.nullcontext)
        row = {"loss": sum(losses.values()), "difference": difference(losses, reference), "short": []}
        row |= _timed(model, given, dtype, device, 3 if small else 12)
    if not row["difference"] <= most:
        row["short"].append(f"losses differ by {row['difference']:.2g}: {losses}, in float32 {reference}")
    if not (math.isfinite(row["last_loss"]) and row["finite"]):
        row["short"].append(
            f"after {row['steps']} steps the loss is {row['last_loss']:g}, finite weights {row['finite']}"
        )
    return figures(**row, images_per_s=images / row["step_s"])


@contextlib.contextmanager
def allowed(tf32: bool) -> Any:
    """Inside, products may use TF32, too; convolutions may by torch's default."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def _timed(model: Any, given: tuple, dtype: torch.dtype | None, device: str, steps: int) -> dict:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-5, momentum=0.9)
    scaler = torch.amp.GradScaler(device, enabled=dtype is torch.float16)
    last = torch.zeros(())

    def step() -> None:
        nonlocal last
        with torch.autocast(device, dtype, enabled=dtype is not None):
            losses, _ = model(*given)
        total = sum(losses.values())
        scaler.scale(total).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        last = total.detach()

    times = [seconds_of(step, device) for _ in range(3 + steps)][3:]
    wait(device)
    finite = all(bool(torch.isfinite(p).all()) for p in parameters)
    memory = torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else None
    row = {"step_s": sorted(times)[len(times) // 2], "steps": 3 + steps, "last_loss": float(last), "finite": finite}
    return (
        row
        | ({"memory_MiB": memory} if memory else {})
        | ({"scale": scaler.get_scale()} if scaler.is_enabled() else {})
    )
