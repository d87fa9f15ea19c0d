"""Evaluate a run, a checkpoint, or a results file without any model."""

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import add_config_arguments, add_run_arguments, add_tiles_argument, config_from, make_parser, parse

EXAMPLE = """
imbdet evaluate --run output/faster_rcnn_shapes --split test --out metrics.json
  imbdet evaluate --config baselines/faster_rcnn_r50_coco --checkpoint model_final.pkl data.root=coco
  imbdet evaluate --annotations instances_val.json --results detections.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser(
        "evaluate", "Compute COCO metrics, AP per class, and AP of rare, common and frequent classes.", EXAMPLE
    )
    add_run_arguments(parser)
    add_config_arguments(parser, required=False)
    parser.add_argument("--checkpoint", metavar="W", help="weights for --config")
    parser.add_argument("--annotations", metavar="GT.json", help="COCO ground truth, with --results; needs no model")
    parser.add_argument("--results", metavar="DET.json", help="COCO results, with --annotations")
    parser.add_argument("--train-annotations", metavar="T.json", help="training data, for the groups of classes")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="of the config's data (default: val)")
    parser.add_argument(
        "--tune-on",
        choices=("train", "val"),
        help="first choose the parameter of a remedy that acts after training, by AP on these data",
    )
    parser.add_argument("--out", metavar="FILE", help="write all metrics there as JSON, at full precision")
    parser.add_argument("--save-detections", metavar="FILE", help="write what the model found as COCO results")
    parser.add_argument(
        "--count-unknown",
        action="store_true",
        help="a class unknown to the model has AP 0 (default: it is left out)",
    )
    add_tiles_argument(parser)
    parser.add_argument(
        "--max-dets", default="1,10,100", metavar="L", help="detections per image and class (default: 1,10,100)"
    )
    args = parse(parser, argv)
    _check(parser, args)
    limits = _limits(parser, args.max_dets)

    from ..evaluation.result import EvaluationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)  # they are printed below the tables
        if args.annotations:
            result = _evaluate_files(args, limits)
        else:
            result = _evaluate_model(args, limits)
    if result is not None and os.environ.get("RANK", "0") == "0":
        if args.out:  # before the tables, which a closed pipe may cut short
            result.to_json(args.out)
        print(result.to_text())
    return 0


def _evaluate_files(args: argparse.Namespace, limits: list[int]) -> Any:
    from ..evaluation.coco import evaluate_coco

    return evaluate_coco(args.annotations, args.results, args.train_annotations, limits)


def _evaluate_model(args: argparse.Namespace, limits: list[int]) -> Any:
    from ..engine.trained import evaluate_checkpoint, open_run, with_tiles

    if args.run:
        cfg, args.checkpoint = open_run(args.run, args.which, args.remedy, args.overrides)
    else:
        cfg = config_from(args)
    if args.tiles:
        cfg = with_tiles(cfg, args.tiles)
    main_process = os.environ.get("RANK", "0") == "0"
    if args.print:
        from ..config import diff
        from . import changes

        lines = diff(open_run(args.run, args.which)[0], cfg) if args.run else changes(args, cfg)
        print("\n".join(lines) or "no difference")
        return None
    if main_process:
        print(f"weights: {args.checkpoint}, split: {args.split}")
    if args.tune_on:
        from ..engine.tuning import tune

        cfg = tune(cfg, args.checkpoint, args.tune_on, print if main_process else lambda line: None)
    result, detections = evaluate_checkpoint(cfg, args.checkpoint, args.split, limits, args.count_unknown)
    if args.save_detections and main_process:
        detections.save(args.save_detections, [row["category_id"] for row in result.per_class])
    return result


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Exactly one of the three ways, whole, and nothing that it would ignore."""
    ways = {"--run": args.run, "--config": args.config, "--annotations": args.annotations or args.results}
    given = [way for way, value in ways.items() if value]
    if len(given) != 1:
        parser.error(
            "give one of --run DIR, --config C --checkpoint W, or --annotations GT.json --results DETECTIONS.json"
            + (f" (not {' and '.join(given)} together)" if given else "")
        )
    if args.config and not args.checkpoint and not args.print:
        parser.error("--config needs --checkpoint W, the weights to evaluate")
    if not args.config and args.checkpoint:
        parser.error("--checkpoint goes with --config; of a run, choose by --which best or --which last")
    if bool(args.annotations) != bool(args.results):
        parser.error("--annotations and --results go together")
    if args.tune_on == args.split:
        parser.error(f"--tune-on {args.tune_on} would tune on what is judged; tune on train, or judge --split test")
    ignored = {
        "--tune-on": args.tune_on and args.annotations,
        "--which": args.which and not args.run,
        "--count-unknown": args.count_unknown and args.annotations,
        "--train-annotations": args.train_annotations and not args.annotations,
        "--save-detections": args.save_detections and args.annotations,
        "--tiles": args.tiles and args.annotations,
        "key=value and --remedy": (args.overrides or args.remedy) and args.annotations,
    }
    for option, is_ignored in ignored.items():
        if is_ignored:
            parser.error(f"{option} has no meaning with {given[0]}")
    for path in (args.out, args.save_detections):
        if path and Path(path).is_dir():
            parser.error(f"{path} is a folder; name a file in it")


def _limits(parser: argparse.ArgumentParser, text: str) -> list[int]:
    try:
        limits = [int(word) for word in text.split(",")]
    except ValueError:
        limits = []
    if not limits or min(limits) < 1:
        parser.error(f"--max-dets is {text!r}; it must be numbers of at least 1, such as 1,10,100")
    return limits
