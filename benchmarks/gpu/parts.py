"""What the check consists of, in the order of its importance: a check that is cut off has done the first parts."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class Part:
    """One part of the check.

    share: of the whole time. width: processes that share its units; 1 where figures are times, which want a quiet
    machine. unit_s: seconds after which one unit is given up. wave: parts of one wave run at once.
    """

    name: str
    title: str
    share: float
    width: int
    unit_s: float
    wave: int
    path: str = ""  #: of the module, by default the one of that name here

    @property
    def module(self) -> ModuleType:
        return import_module(self.path or f"benchmarks.gpu.{self.name}")


PARTS = (
    Part("train", "Every shipped config trains 3 steps and evaluates", 0.42, 5, 60, 1),
    Part("losses", "Losses beside the CPU's, and under mixed precision", 0.42, 5, 60, 1),
    Part("parity", "Recorded reference cases", 0.42, 1, 60, 1),
    Part("ddp", "One process under DistributedDataParallel", 0.42, 1, 60, 1),
    Part("waits", "Host synchronizations of a training step", 0.42, 3, 60, 1),
    Part("modes", "Precision, memory layout, compilation", 0.32, 1, 75, 2),
    Part("speed", "Beside torchvision and detectron2", 0.26, 1, 60, 3),
)
