"""Measure: detectors beside torchvision, loader, reader, evaluation, comparison, meters, side by side in a process."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

EXAMPLE = """
python -m benchmarks --only detectors --case faster_rcnn_shapes
  python -m benchmarks --only evaluation --full      # 5,000 images, 500,000 detections: pycocotools needs minutes
  python -m benchmarks --remedies --case faster_rcnn_shapes --remedy ohem
  python -m benchmarks --out figures.json"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this machine: ratios against peers are steady, seconds are not.",
        epilog=f"example:\n  {EXAMPLE.strip()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parts = {
        "detectors": _detectors,
        "loader": _loader,
        "reader": _reader,
        "evaluation": _evaluation,
        "comparison": _comparison,
        "meters": _meters,
    }
    parser.add_argument("--only", action="append", choices=sorted(parts), help="these parts; all by default")
    parser.add_argument("--case", action="append", help="cases of the part detectors; all by default")
    parser.add_argument(
        "--remedies", action="store_true", help="each remedy's step beside its baseline's, and nothing else"
    )
    parser.add_argument("--remedy", action="append", metavar="NAME", help="with --remedies: only these")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="turns of each side (10)")
    parser.add_argument(
        "--full", action="store_true", help="reader, evaluation and comparison at full size, minutes instead of seconds"
    )
    parser.add_argument(
        "--images", default="", metavar="DIR", help="a COCO folder with pictures of 640x480 for the loader"
    )
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="threads of the CPU; 0 leaves torch's choice"
    )
    parser.add_argument("--out", default="", metavar="FILE", help="write all figures as JSON")
    args = parser.parse_args(argv)
    if args.rounds < 1:
        raise ValueError(f"--rounds must be at least 1, got {args.rounds}")
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    figures = _remedies(args) if args.remedies else {}
    for name in () if args.remedies else args.only or parts:
        print(f"{name}:", flush=True)
        figures[name] = parts[name](args)
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=1))
        print(f"written to {args.out}")
    return 0


def _show(row: dict) -> dict:
    for key, value in row.items():
        print(f"  {key:<28} {value:.4g}" if isinstance(value, float) else f"  {key:<28} {value}", flush=True)
    print()
    return row


def _detectors(args) -> list[dict]:
    from .detectors import CASES, benchmark_detector

    unknown = sorted(set(args.case or ()) - set(CASES))
    if unknown:
        raise ValueError(f"no case {unknown}; there are {sorted(CASES)}")
    return [_show(benchmark_detector(case, args.rounds)) for case in args.case or CASES]


def _remedies(args) -> dict:
    from imbdet.config import remedy_names

    from .detectors import CASES, benchmark_remedies

    figures = {}
    for case in args.case or [name for name in CASES if name.endswith("shapes")]:
        print(f"{case}:", flush=True)
        figures[case] = benchmark_remedies(case, args.remedy or remedy_names(), args.rounds)
        print(_remedy_table(figures[case]), flush=True)
    return figures


def _remedy_table(rows: list[dict]) -> str:
    from tabulate import tabulate

    titles = {
        "remedy": "remedy",
        "overhead": "step",
        "parameters": "parameters",
        "saved_mib": "kept for backward, MiB",
        "operators_2": "operators, 2 images",
        "operators_8": "8 images",
        "synchronizations_2": "waits, 2 images",
        "synchronizations_8": "8 images",
    }
    shown = [
        [f"{row[key]:+.0%}" if key == "overhead" and key in row else row.get(key, "") for key in titles]
        for row in rows
        if "left_out" not in row
    ]
    text = tabulate(shown, headers=list(titles.values()), tablefmt="simple", floatfmt=".1f")
    left = [f"{row['remedy'].rsplit('/', 1)[-1]}: {row['left_out']}" for row in rows if "left_out" in row]
    return "\n".join([text, *(f"  left out: {line}" for line in left), ""])


def _loader(args) -> dict:
    from .loader import benchmark_loader

    return _show(benchmark_loader(args.images or None, max(args.rounds, 5)))


def _reader(args) -> dict:
    from .reader import benchmark_reader, generate_coco_json

    images, boxes = (118_000, 860_000) if args.full else (11_800, 86_000)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "annotations.json"))
        size = generate_coco_json(path, images, boxes)
        row = {"images": images, "boxes": boxes, "megabytes": size / 1e6}
        return _show(row | benchmark_reader(path))


def _evaluation(args) -> dict:
    from .evaluation import SMALL, benchmark_evaluation

    row = benchmark_evaluation(**({} if args.full else SMALL))
    return _show({key: value for key, value in row.items() if key != "metrics"})


def _comparison(args) -> dict:
    from .evaluation import SMALL_COMPARISON, benchmark_comparison

    return _show(benchmark_comparison(**({} if args.full else SMALL_COMPARISON)))


def _meters(args) -> dict:
    from imbdet.config import load_config

    from .meters import benchmark_meters

    return _show(benchmark_meters(load_config("baselines/faster_rcnn_shapes"), max(3, args.rounds // 2)))


if __name__ == "__main__":
    sys.exit(main())
