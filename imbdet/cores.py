"""How many cores this process may use, and threads that wait without spinning.

OpenMP threads of a training spin while they wait for each other. Two trainings with two threads each on two cores then
slow each other down by much more than a factor of two, because a spinning thread holds the core that the working one
needs. A limit on spinning costs a training that runs alone nothing. libgomp reads it once, when torch is loaded.
"""

import math
import os
import sys
from pathlib import Path

SPIN_COUNT = "1000"  #: turns of the loop in which a thread of libgomp waits before it sleeps; its default is far more
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"  #: the variable that says which GPUs a process may use
#: settings of the user's own that say how OpenMP threads wait
_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")


def limit_spinning() -> None:
    """Let OpenMP threads sleep early, unless the user has decided otherwise or torch is loaded already.

    Child processes inherit it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def usable_cores(root: Path = Path("/")) -> int:
    """Return cores that this process may use: the least of its affinity and the quota of its control group, at least 1.

    root: where /proc and /sys lie, for tests.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _groups(root) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _groups(root: Path) -> list[Path]:
    """Folders of the control groups of this process and of their parents, versions 1 and 2."""
    folders = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        here = top / path.strip("/")
        # Inside of a container the path may be the host's: then only the top is there.
        folders += [here, *(parent for parent in here.parents if parent.is_relative_to(top))]
    return folders


def _quota(folder: Path) -> float | None:
    """Cores that a control group may use; None without a limit."""
    limit, _, period = _text(folder / "cpu.max").partition(" ")
    if not limit:
        limit, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    try:
        cores = float(limit) / float(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return cores if cores > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
