"""Write a trained detector as ONNX, TorchScript or torch.export, and prove that it finds the same."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import Words, add_run_arguments, add_trust_argument, make_parser, parse

EXAMPLE = """
imbdet export --run output/faster_rcnn_shapes --format onnx
"""
SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript", "torch_export": ".pt2"}


def main(argv: Sequence[str] | None = None) -> int:
    """0 if the file finds what the run's detector finds, 1 if it does not (the file stays, named .unequal)."""
    parser = make_parser(
        "export", "Write a trained detector as a file that runs without imbdet (see docs/export.md).", EXAMPLE
    )
    add_run_arguments(parser, required=True)
    parser.add_argument("--format", required=True, choices=tuple(SUFFIXES), help="what to write")
    parser.add_argument("--out", metavar="FILE", help="default: detector.onnx, .torchscript or .pt2 in the run")
    parser.add_argument("--remedy", action="append", default=[], metavar="NAME", help="put a calibration on the run")
    parser.add_argument(
        "--pictures", nargs="+", action=Words, metavar="IMAGE", help="compare on these (default: the val split)"
    )
    parser.add_argument("--check", type=int, default=20, metavar="N", help="pictures to compare on (20); 0: none")
    add_trust_argument(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. model.score_threshold=0.3")
    args = parse(parser, argv)
    if args.check < 0:
        parser.error(f"--check is {args.check}; it is a number of pictures, 0 for none")

    from ..engine.trained import load_run
    from ..export import compare, export, open_exported

    suffix = SUFFIXES[args.format]
    detector = load_run(args.run, args.which, "cpu", args.remedy, args.overrides)
    run = Path(args.run)
    path = Path(args.out) if args.out else (run.parent if run.is_file() else run) / f"detector{suffix}"
    if path.suffix != suffix:
        raise ValueError(f"--out is {path}; a file of --format {args.format} ends in {suffix}")
    pictures = _pictures(args, detector) if args.check else []
    path.parent.mkdir(parents=True, exist_ok=True)
    about = export(detector, args.format, path)
    print(f"wrote {path}: {len(about['class_names'])} classes, at most {about['max_detections']} detections a picture")
    if not pictures:
        print("not compared with the run's detector (--check 0)")
        return 0
    seen = compare(detector.model, open_exported(path)[0], pictures)
    print(f"compared with the run's detector: {seen}")
    if seen.equal:
        return 0
    aside = path.with_name(path.name + ".unequal")
    path.replace(aside)
    print(f"imbdet export: error: it does not find the same, so it is now {aside}", file=sys.stderr)
    return 1


def _pictures(args: argparse.Namespace, detector: Any) -> list:
    """uint8 (3, H, W), resized as the run does; every other one is cut, so that sizes differ."""
    import numpy as np

    from ..config import instantiate
    from ..data.images import decode
    from ..evaluation.pictures import find_pictures

    if args.pictures:
        paths, problems = find_pictures(args.pictures)
        if not paths:
            raise ValueError("no picture to compare on. " + "; ".join(problems))
        found = [decode(str(path)) for path in paths[: args.check]]
    else:
        try:
            records = instantiate(detector.cfg.data.val)
        except Exception as error:
            raise ValueError(
                f"the run's validation pictures cannot be read ({error}); name others with --pictures, or --check 0"
            ) from error
        found = [records.images[i] for i in range(min(args.check, len(records)))]
    if detector.resize is not None:
        found = [detector.resize(image, {}, np.random.default_rng(0))[0] for image in found]
    return [
        image[:, : -(image.shape[1] // 5) or None, : -(image.shape[2] // 7) or None].contiguous() if i % 2 else image
        for i, image in enumerate(found)
    ]
