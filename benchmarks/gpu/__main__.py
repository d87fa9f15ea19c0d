"""`python -m benchmarks.gpu`: do the parts, write one JSON and one page, say what falls short."""

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

EXAMPLE = """
python -m benchmarks.gpu                                        # 6 minutes at most
  python -m benchmarks.gpu --device cpu --seconds 1800          # the same parts, as far as a CPU can do them
  python -m benchmarks.gpu --parts losses waits --only "*seesaw*"
"""
NEEDED = ("torch", "torchvision", "timm", "omegaconf", "fvcore", "pycocotools", "hotcoco", "msgspec", "numpy")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if nothing falls short, else 1."""
    from .parts import PARTS

    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Check and measure what a GPU changes. Exits with 1 where something falls short.",
        epilog=f"example:\n  {EXAMPLE.strip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="PART", help=f"of {names}")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="units of the parts, e.g. '*seesaw*'")
    parser.add_argument("--seconds", type=float, default=345, metavar="S", help="for all parts together (345)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is a dry run, with small sizes")
    parser.add_argument(
        "--out", default="output/gpu-check", metavar="DIR", help="gpu_check.json, gpu_check.md, log.txt"
    )
    args = parser.parse_args(argv)
    if args.seconds <= 0:
        parser.error(f"--seconds is {args.seconds:g}; it must be above 0")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        print(f"not installed: {', '.join(missing)}; imbdet needs them (pip install -e .)", file=sys.stderr)
        return 2
    sys.path.insert(0, os.getcwd())
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; --device cpu is a dry run", file=sys.stderr)
        return 2
    return _check(args, [part for part in PARTS if part.name in args.parts])


def _check(args: argparse.Namespace, parts: list) -> int:
    from imbdet.write import write_json, write_whole

    from .page import page
    from .runner import Runner, shortfalls, skipped

    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    log = out / "log.txt"
    log.write_text("")
    began = time.monotonic()
    report = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        "where": _where(args.device),
        "complete": False,
    }

    def keep() -> None:
        report["seconds"] = round(time.monotonic() - began, 1)
        report["short"], report["skipped"] = shortfalls(runner.done), skipped(runner.done)
        report["parts"] = runner.done
        write_json(out / "gpu_check.json", report)
        write_whole(out / "gpu_check.md", page(report))

    runner = Runner(args.device, args.device == "cpu", log, keep)
    waves = [list(group) for _, group in groupby(parts, key=lambda part: part.wave)]
    for i, wave in enumerate(waves):
        left = args.seconds - (time.monotonic() - began)
        shares = [max(part.share for part in other) for other in waves[i:]]
        print(f"{', '.join(part.name for part in wave)}: at most {left * shares[0] / sum(shares):.0f} s", flush=True)
        runner.wave(wave, left * shares[0] / sum(shares), args.only)
    report["complete"] = True
    keep()
    for line in report["skipped"]:
        print(f"not done: {line}")
    for line in report["short"]:
        print(f"SHORT: {line}")
    print(f"{len(report['short'])} fall short, {report['seconds']:g} s; {out / 'gpu_check.md'}")
    return 1 if report["short"] else 0


def _where(device: str) -> dict:
    """The machine and the libraries."""
    import torch
    import torchvision

    from imbdet.cores import usable_cores

    found = {
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cores": usable_cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": card.name,
            "memory_GiB": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
    return found


if __name__ == "__main__":
    sys.exit(main())
