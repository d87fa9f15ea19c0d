"""Train a small detector on the shapes set, evaluate it, and write a report.

Started again, an interrupted demo goes on where it was, and a finished one is only reported anew.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import make_parser, parse

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIG = "baselines/faster_rcnn_shapes"
FOLDER = "output/demo"
EXAMPLE = """
imbdet demo
  imbdet demo train.max_iter=300
  imbdet demo --fresh train.output_dir=output/another_demo
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("demo", f"Train {CONFIG}, evaluate it, and write {FOLDER}/report.html.", EXAMPLE)
    parser.add_argument("--fresh", action="store_true", help="train anew, even if a demo is there already")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="set single keys, e.g. train.max_iter=300")
    args = parse(parser, argv)
    from imbdet.config import diff, load_config
    from imbdet.engine.stop import Interrupted

    cfg = load_config(CONFIG, overrides=[f"train.output_dir={FOLDER}", *args.overrides])
    folder = Path(cfg.train.output_dir)
    seconds = {}
    began = time.perf_counter()
    state = "absent" if args.fresh else state_of(folder, cfg)
    if state == "finished":
        print(f"{folder} holds the finished demo: it is not trained again (--fresh does)")
    else:
        print(f"Training {CONFIG} in {folder}; Ctrl-C is safe, the same command goes on from there.", flush=True)
        try:
            train(cfg, resume=state == "begun")
        except Interrupted as interrupted:
            print("Interrupted; the same command goes on from there.", flush=True)
            return int(interrupted.code)
        seconds["training"], began = time.perf_counter() - began, time.perf_counter()

    found, tables = evaluate(cfg, folder)
    if state == "finished":  # otherwise the training has just printed them
        print(tables, flush=True)
    seconds["evaluation"], began = time.perf_counter() - began, time.perf_counter()

    plain = load_config(CONFIG, overrides=[f"train.output_dir={folder}"])
    page = report(folder, found, diff(plain, cfg))
    seconds["report"] = time.perf_counter() - began
    print("Time: " + ", ".join(f"{what} {value:.0f} s" for what, value in seconds.items()))
    print(f"Report: {page} (open it in a browser)")
    return 0


def state_of(folder: Path, cfg: "DictConfig") -> str:
    """Return what is in the demo's folder: "finished" with this config, "begun" with it, or "absent"."""
    from imbdet.config import diff
    from imbdet.runs import CONFIG as RUN_CONFIG
    from imbdet.runs import LAST, RunFolder

    run = RunFolder(folder)
    if not run.has(RUN_CONFIG):
        return "absent"
    lines = diff(run.config(), cfg)
    if lines:
        print(f"{folder} holds a demo of another config, so it is trained anew ({lines[0]})")
        return "absent"
    try:
        done = run.result()["iteration"] >= cfg.train.max_iter
    except (OSError, ValueError, KeyError):  # not there, or cut short
        done = False
    return "finished" if done and run.has(LAST) else "begun"


def train(cfg: "DictConfig", resume: bool) -> None:
    """Train into the demo's folder; without `resume` whatever run is in it makes place."""
    from imbdet.engine import train as train_run
    from imbdet.engine.run_folder import clear

    if not resume:
        clear(Path(cfg.train.output_dir))
    train_run(cfg, resume=resume)


def evaluate(cfg: "DictConfig", folder: Path) -> tuple[object, str]:
    """Evaluate the last weights on val; return the detections, also written to detections.json, and the result as
    text.
    """
    from imbdet.config import instantiate
    from imbdet.engine.trained import evaluate_checkpoint
    from imbdet.runs import RunFolder

    run = RunFolder(folder)
    result, found = evaluate_checkpoint(cfg, run.checkpoint("last"))
    found.save(run.detections(), instantiate(cfg.data.val).category_ids)
    return found, result.to_text()


def report(folder: Path, found: object, differences: list[str]) -> Path:
    from imbdet.report import write_report

    title = "Faster R-CNN on the shapes set"
    return write_report(folder, folder / "report.html", detections=found, differences=differences, title=title)
