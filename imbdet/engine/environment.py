"""environment.json: what a run was computed with, so that its numbers can be repeated or doubted."""

import functools
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import __version__ as imbdet_version
from ..runs import ENVIRONMENT, read_json
from ..write import write_json

PACKAGES = ("torch", "torchvision", "timm", "numpy", "omegaconf", "fvcore", "hotcoco", "pycocotools")


def describe_environment(device: torch.device, seed: int, data: dict[str, str], processes: int = 1) -> dict[str, Any]:
    """Map data: split -> fingerprint of its records."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "imbdet": imbdet_version,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "device": str(device),
        "gpu": gpu,
        "cuda": torch.version.cuda if gpu else None,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "seed": seed,
        "data": data,
        "git_commit": _git_commit(Path(__file__).parent),
    }


@functools.cache
def _processor() -> str:
    """The model's name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), "") or platform.processor() or platform.machine()


def computes_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor has instructions for bfloat16 (AVX512_BF16 or AMX); False where that is not known.

    cpuinfo: the file of the system that lists them, for tests.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16"})


def write_environment(folder: Path, environment: dict[str, Any], resumed_at: int | None = None) -> None:
    """Write environment.json; a resumed run (at that iteration) appends to "resumed" of the one that is there."""
    path = folder / ENVIRONMENT
    if resumed_at is not None and path.exists():
        first = read_json(path)
        first.setdefault("resumed", []).append({"iteration": resumed_at, **environment})
        environment = first
    write_json(path, environment, "Checkpoints are untouched.")


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache  # of the code as it was when this process began to use it
def _git_commit(folder: Path) -> str | None:
    """Commit of the checkout this code lies in, "+changes" if it differs from it; None for an installed package."""
    try:
        ask = ["git", "-C", str(folder)]
        tracked = subprocess.run([*ask, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=5)
        if tracked.returncode:
            return None
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        changes = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "") or None
