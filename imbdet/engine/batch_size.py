"""`train.batch_size=auto`: the largest batch that leaves a tenth of a GPU's free memory unused.

Measured before the first step, on throwaway runs of the config itself, a few steps each: the batch is doubled until one
is out of memory or above HIGH of it, then halved in between until one lies between LOW and HIGH. It becomes
`dataloader.train.batch_size`, so the saved config holds it and the run can be repeated with it. Not run on a GPU yet.
"""

import copy
import gc
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import OmegaConf

from ..runs import CONFIG, RunFolder
from .distributed import pick_device
from .progress import Clock
from .settings import read_settings

STEPS = 4  #: of each size
LOW, HIGH = 0.8, 0.9  #: of the free memory: what a batch should take, at least and at most


def with_batch_size(cfg: Any, resume: bool = False, say: Any = print) -> Any:
    """Return `cfg`, or where `train.batch_size` is auto a copy whose `dataloader.train.batch_size` fits the memory.

    A resumed run keeps the batch that it began with.

    Raises:
        ValueError: another word, no GPU, several processes, or not even one image fits.
    """
    settings = read_settings(cfg)
    if not settings.batch_size:
        return cfg
    if settings.batch_size != "auto":
        raise ValueError(
            f"train.batch_size is {settings.batch_size!r}; it may be auto, a number is dataloader.train.batch_size"
        )
    cfg = copy.deepcopy(cfg)
    folder = RunFolder(cfg.train.output_dir)
    if resume and folder.has(CONFIG):
        saved = OmegaConf.create(folder.config_text())
        cfg.dataloader.train.batch_size = int(OmegaConf.select(saved, "dataloader.train.batch_size"))
        return cfg
    device = pick_device(settings.device)
    if device.type != "cuda":
        raise ValueError(
            f"train.batch_size=auto measures the memory of a GPU, but the device is {device}; "
            f"give a number, such as dataloader.train.batch_size={cfg.dataloader.train.batch_size}"
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("train.batch_size=auto is measured in one process; give dataloader.train.batch_size a number")
    free = torch.cuda.mem_get_info(device)[0]
    size, peak = largest(lambda images: peak_of(cfg, images, device), free)
    cfg.dataloader.train.batch_size = size
    say(
        f"train.batch_size=auto: {size} images a batch, {peak / 2**30:.1f} of {free / 2**30:.1f} GiB that were free; "
        "optimizer.lr stays as it is unless train.reference_batch says what batch it is for"
    )
    return cfg


def largest(peak_of: Callable[[int], int | None], memory: int, most: int = 4096) -> tuple[int, int]:
    """Return the largest batch up to `most` that takes at most HIGH of the memory, or the first above LOW; its peak.

    Args:
        peak_of: batch -> bytes at its peak, None where it was out of memory.
        memory: bytes there are.

    Raises:
        ValueError: one image takes more.
    """
    fits, peak, above, size = 0, 0, most + 1, 1
    while above - fits > 1:
        found = peak_of(size)
        if found is None or found > HIGH * memory:
            above = size
        else:
            fits, peak = size, found
        if peak >= LOW * memory:
            break
        # doubled while nothing was too large, then the middle between what fits and what does not
        size = min(2 * fits, most) if above > most else (fits + above) // 2
    if not fits:
        raise ValueError(
            f"train.batch_size=auto: one image takes more than {HIGH:.0%} of the {memory / 2**30:.1f} GiB free; "
            "use smaller pictures, or train.amp.enabled=true"
        )
    return fits, peak


def peak_of(cfg: Any, images: int, device: torch.device) -> int | None:
    """Return the bytes that the allocator held at most in a few steps with so many images, None if out of memory."""
    from .loop import step
    from .short import begun

    cfg = copy.deepcopy(cfg)
    cfg.train.batch_size, cfg.train.time, cfg.dataloader.train.batch_size = "", "", images
    release(device)
    try:
        with tempfile.TemporaryDirectory() as place, begun(cfg, place) as run:
            batches, clock = run.batches(0), Clock()
            for iteration in range(1, STEPS + 1):
                step(run, batches, clock, iteration, reports=False)
        return torch.cuda.max_memory_reserved(device)
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        release(device)


def release(device: torch.device) -> None:
    """Give back what the last run held, and begin a new peak."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
