"""What a person sees of a run: a bar on a terminal, a line per report elsewhere; times, ETA, losses, memory."""

import os
import resource
import sys
import time
from datetime import timedelta
from typing import Any

import torch
from tqdm import tqdm

BAR = "{l_bar}{bar:10}{r_bar}"  #: a short bar, so that the losses fit beside it


class Progress:
    """total: iterations of the run. start: those already done. epoch_length: iterations of an epoch, or None.

    enabled: False in all processes but the first.
    """

    def __init__(self, total: int, start: int, epoch_length: int | None = None, enabled: bool = True):
        self.total, self.epoch_length, self.enabled, self.bar = total, epoch_length, enabled, None
        self.began, self.start = time.perf_counter(), start
        if enabled and _shows_bars():
            self.bar = tqdm(total=total, initial=start, unit="it", dynamic_ncols=True, smoothing=0.1, bar_format=BAR)

    def report(self, iteration: int, scalars: dict[str, float]) -> None:
        """Show a report. scalars: as in metrics.jsonl."""
        if not self.enabled:
            return
        losses = {tag[5:]: value for tag, value in scalars.items() if tag.startswith("loss/")}
        parts = [f"loss {losses.pop('total', 0.0):.3f}"]
        parts.append("(" + " ".join(f"{name} {value:.3f}" for name, value in losses.items()) + ")")
        parts.append(f"lr {scalars['lr']:.2g}  {scalars['memory/MiB']:.0f} MiB")
        if self.bar is not None:
            self.bar.set_postfix_str("  ".join(parts))
            return
        epoch = f" (epoch {iteration / self.epoch_length:.2f})" if self.epoch_length else ""
        pace = (time.perf_counter() - self.began) / max(1, iteration - self.start)
        eta = timedelta(seconds=round(pace * (self.total - iteration)))
        wait = f"waits {100 * scalars['time/loader_wait_share']:.0f}%"
        print(
            f"{iteration}/{self.total}{epoch}  "
            + "  ".join(parts)
            + f"  {scalars['time/step']:.3f} s/it {wait}  eta {eta}",
            flush=True,
        )

    def step(self) -> None:
        if self.bar is not None:
            self.bar.update(1)

    def say(self, text: str) -> None:
        """Print a line that does not break the bar."""
        if not self.enabled:
            return
        if self.bar is not None:
            self.bar.write(text)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _shows_bars() -> bool:
    """A terminal, and one with a size: tqdm draws nothing on one of 0 rows, as some job runners have it."""
    try:
        return sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).lines > 0
    except (OSError, ValueError):
        return False


class Clock:
    """Wall time since the last report: of the steps, and of waiting for the loader. The report itself is left out."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.began, self.waited, self.images, self.steps = time.perf_counter(), 0.0, 0, 0

    def fetch(self, batches: Any) -> tuple[list, list]:
        """Return the next batch, with the time it took noted."""
        before = time.perf_counter()
        images, targets = next(batches)
        self.waited += time.perf_counter() - before
        self.images += len(images)
        return images, targets

    def read(self, device: torch.device, processes: int) -> dict[str, float]:
        """Return scalars of the window. Call it after the losses were read: then the device has caught up with the
        host.
        """
        seconds = max(time.perf_counter() - self.began, 1e-9)
        return {
            "time/step": seconds / max(1, self.steps),
            "time/images_per_second": processes * self.images / seconds,
            "time/loader_wait_share": self.waited / seconds,
            "memory/MiB": peak_memory(device),
        }


def peak_memory(device: torch.device) -> float:
    """Return MiB: the most that the GPU's allocator held, or this process's largest resident set on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB on Linux
