"""Show what is imbalanced in a data set, and what a training made of it."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import add_remedy_arguments, is_override, make_parser, parse

EXAMPLE = """
imbdet diagnose DATA                                     a folder in COCO, Pascal VOC or YOLO format, all its splits
  imbdet diagnose train.json test.json --no-pictures       COCO files, training first; annotations only
  imbdet diagnose DATA --config baselines/faster_rcnn_lite0_custom --out output/diagnosis
  imbdet diagnose DATA --run output/run                    with what a training on it came to
  imbdet diagnose --config baselines/faster_rcnn_shapes    the data that a config names
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parse(parser, argv)
    args.paths = [word for word in args.words if not is_override(word)]
    args.overrides = [word for word in args.words if is_override(word)]
    if not args.paths and not args.config and not args.run:
        parser.error("name the data set: imbdet diagnose DATA, or a --config or --run that names its own")
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        parser.error(f"--out {out}: is a file; name a folder, which gets report.html and report.json")
    start = time.perf_counter()
    diagnosis = _diagnose(args)
    diagnosis.html(out / "report.html")
    diagnosis.json(out / "report.json")
    print(summary(diagnosis))
    print(f"wrote {out / 'report.html'} and {out / 'report.json'} in {time.perf_counter() - start:.1f} s")
    return 0


def summary(diagnosis: Any) -> str:
    """Return a few lines for the terminal."""
    lines = []
    for name, row in diagnosis.splits.items():
        lines.append(f"{name}: {row['images']} images ({row['empty_images']} without objects), {row['boxes']} boxes")
    reasons: dict[str, list[str]] = {}
    for key, text in diagnosis.missing.items():
        reasons.setdefault(text, []).append(key)
    lines += [f"{', '.join(keys)}: {text}" for text, keys in reasons.items()]
    lines += [f"finding: {finding.says}" for finding in diagnosis.findings]
    if not diagnosis.findings and "advice" in diagnosis.sections:
        lines.append("no rule applies: there is nothing to do")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("diagnose", "Show what is imbalanced in a data set, and what a training made of it.", EXAMPLE)
    add = parser.add_argument
    add("words", nargs="*", metavar="DATA", help="a folder or COCO files, training first; key=value sets config keys")
    add("--config", metavar="C", help="measure its resize, anchors and matcher; it may also name the data")
    add_remedy_arguments(parser)
    add("--run", metavar="DIR", help="the folder of a training on this data")
    add("--before", metavar="DIR", help="another run to compare with (default: the baseline in a comparison)")
    add("--split", choices=("val", "test"), default="val", help="what the run is evaluated on (default: val)")
    add("--out", default="diagnosis", metavar="DIR", help="folder for report.html and report.json (default: diagnosis)")
    add("--no-pictures", action="store_true", help="read annotations only: no near-duplicates, no galleries")
    return parser


def _diagnose(args: argparse.Namespace) -> Any:
    from imbdet.config import load_config
    from imbdet.diagnose import diagnose
    from imbdet.diagnose.inputs import from_config
    from imbdet.runs import RunFolder

    cfg = None
    if args.run and RunFolder(args.run).of_detectron2 and not args.config:
        if not args.paths:
            raise ValueError(f"{args.run} was written by detectron2: name its data, too, as in imbdet diagnose DATA")
    elif args.config or args.run:
        overrides = list(args.overrides)
        cfg = load_config(args.config or args.run, args.remedy)
        if args.paths and Path(args.paths[0]).is_dir() and "root" in cfg.data and not args.run:
            overrides.insert(0, f"data.root={args.paths[0]}")
        if overrides:
            cfg = load_config(args.config or args.run, args.remedy, overrides)
    elif args.overrides or args.remedy:
        raise ValueError(f"{(args.overrides or args.remedy)[0]}: config keys and remedies need --config")
    data = args.paths or from_config(cfg)
    name = Path(args.paths[0]).resolve().name if args.paths else Path(args.config or args.run).stem
    options = {
        "name": name,
        "config": args.config or args.run or "",
        "before": args.before,
        "split": args.split,
        "read_pictures": not args.no_pictures,
        "progress": True,
    }
    return diagnose(data, cfg, args.run, **options)
