"""Train a detector.

The folder of a run is `output/<config>[+remedy...]` unless the config or `train.output_dir=` says otherwise.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runs import BEST, CONFIG, LAST, METRICS, RESULT
from . import add_config_arguments, changes, config_from, make_parser, parse

EXAMPLE = """
imbdet train --config baselines/faster_rcnn_shapes
  imbdet train --config baselines/faster_rcnn_lite0_custom data.root=/data/mine train.max_iter=2000
  imbdet train --config baselines/faster_rcnn_shapes --remedy focal_loss --print
  imbdet train --config baselines/faster_rcnn_shapes --resume
  python -m torch.distributed.run --nproc-per-node 2 tools/train.py --config baselines/faster_rcnn_shapes
"""

UNNAMED = "output/run"  #: the default of configs/common/train.py, which says nothing about the run


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser("train", "Train a detector, evaluate it, and write its run folder.", EXAMPLE)
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run in its folder from the last state")
    args = parse(parser, argv)
    cfg = config_from(args)
    lines = changes(args, cfg)
    if args.print:
        print("\n".join(lines) or "no difference")
        return 0
    if cfg.train.output_dir == UNNAMED and not any(word.startswith("train.output_dir=") for word in args.overrides):
        cfg.train.output_dir = default_output_dir(args, cfg)

    from imbdet.engine import train
    from imbdet.engine.stop import Interrupted

    speaks = os.environ.get("RANK", "0") == "0"
    if speaks:
        print(f"config {args.config}" + (", changed:" if lines else ", as it is"))
        print("".join(f"  {line}\n" for line in lines), end="")
        print(f"run folder {cfg.train.output_dir}", flush=True)
    try:
        result = train(cfg, resume=args.resume)
    except Interrupted as interrupted:
        if speaks:
            print(f"continue with: {resume_command(argv)}", flush=True)
        return int(interrupted.code)
    if speaks:
        print(where_things_are(result))
    return 0


def default_output_dir(args: Any, cfg: Any) -> str:
    """Return output/faster_rcnn_shapes+focal_loss: the plain config's name and those of all remedies on it."""
    from imbdet.config import baseline_of

    names = [Path(str(baseline_of(args.config))).stem, *(Path(str(name)).stem for name in cfg.get("remedies", ()))]
    return str(Path("output") / "+".join(names))


def resume_command(argv: Sequence[str] | None) -> str:
    """Return the command that was typed, with --resume."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "--resume" not in words:
        words.append("--resume")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        words = ["python", "-m", "torch.distributed.run", "--nproc-per-node", str(processes), sys.argv[0], *words]
    elif Path(sys.argv[0]).name == "imbdet":
        words = ["imbdet", "train", *words]
    else:
        words = ["python", sys.argv[0], *words]
    return shlex.join(words)


def where_things_are(result: dict) -> str:
    """Return the last lines of a run."""
    folder = Path(result["output_dir"])
    said = {
        BEST: "weights of the best evaluation",
        LAST: "all state of the last iteration",
        RESULT: "every metric at full precision",
        METRICS: "every number on the way",
        CONFIG: "this run's config",
    }
    lines = [f"  {folder / name}: {what}" for name, what in said.items() if (folder / name).exists()]
    best = result["best"]
    if best["value"] is not None:
        lines.insert(0, f"best {result['best_metric']} {best['value']:.4f}, after iteration {best['iteration']}")
    return "\n".join(
        [
            *lines,
            f"watch:    tensorboard --logdir {shlex.quote(str(folder))}",
            f"evaluate: imbdet evaluate --run {shlex.quote(str(folder))}",
        ]
    )
