"""Cells in processes of this machine."""

import time
from multiprocessing.connection import wait
from pathlib import Path

from .cell import enter
from .process import Process
from .store import LOG, run_folder

Cell = tuple[str, int]


class LocalEngine:
    """Cells in processes of this machine, `jobs` at once. gpus: ids that they share in turns; () leaves them alone."""

    def __init__(self, jobs: int = 1, gpus: tuple[str, ...] = ()):
        self.capacity = self.width = jobs
        self.gpus = gpus
        self.running: dict[Cell, Process] = {}
        self.places: dict[Cell, int] = {}
        self.began: dict[Cell, float] = {}

    def start(self, root: Path, arm: str, seed: int) -> None:
        place = next(i for i in range(self.capacity) if i not in self.places.values())
        visible = {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]} if self.gpus else {}
        words = [str(root), arm, str(seed)]
        log = root / run_folder(arm, seed) / LOG
        self.running[arm, seed] = Process(enter, (words,), log, visible)
        self.places[arm, seed] = place
        self.began[arm, seed] = time.monotonic()

    def ended(self, timeout: float) -> list[tuple[Cell, int, float]]:
        wait([process.sentinel for process in self.running.values()], timeout)
        codes = {cell: process.exitcode for cell, process in self.running.items() if process.exitcode is not None}
        for cell in codes:
            del self.running[cell], self.places[cell]
        return [(cell, code, time.monotonic() - self.began.pop(cell)) for cell, code in codes.items()]

    def stop(self) -> None:
        for process in self.running.values():
            process.stop()
        try:
            for process in self.running.values():
                process.wait()
        except KeyboardInterrupt:
            for process in self.running.values():
                process.kill()
            raise
        finally:
            self.running.clear()
