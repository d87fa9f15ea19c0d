"""Compare remedies: train a grid of arms and seeds, judge the differences, and report them."""

import argparse
import contextlib
import functools
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cores import VISIBLE_GPUS
from . import Words, add_trust_argument, make_parser, parse

if TYPE_CHECKING:
    from imbdet.compare.structures import Comparison, Plan, Request, RunRecord

EXAMPLE = """
imbdet compare --config baselines/faster_rcnn_shapes --remedy focal_loss --out output/focal --plan-only
  imbdet compare --config baselines/retinanet_shapes --remedy focal_loss --seeds 5 --out output/focal --jobs 2
  imbdet compare --config baselines/faster_rcnn_shapes --all --imbalance class_fg_bg --out output/fg_bg
  imbdet compare --config baselines/faster_rcnn_shapes --remedy focal_loss --out output/ray --engine ray
  imbdet compare --runs output/run_a output/run_b --out output/report

After an interruption, the same command continues. The same folder takes more remedies and more seeds later.
"""
OF_RUNS = ("runs", "out", "split", "primary")  #: what there is to say about runs that are there already


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parse(parser, argv)
    _check(parser, args)
    from imbdet.compare import BASELINE, Stopped, compare_existing

    try:
        if args.runs:
            comparison = compare_existing(args.runs, args.out, _report, args.split, args.primary)
        else:
            comparison = [_compare(args, config, out) for config, out in _grids(args)][0]
    except Stopped as stopped:
        print(f"stopped; continue with: {_command(argv)}", flush=True)
        return int(stopped.code)
    if comparison is None and not args.plan_only:
        print(f"no run of the {BASELINE} has finished, so there is nothing to compare with", file=sys.stderr)
        return 1
    return 0


def _grids(args: argparse.Namespace) -> list[tuple[str, Path]]:
    """(base, folder): with --all on a shipped baseline one grid for each detector, as each remedy has its home."""
    from imbdet.compare.plan import home_grids, remedies_of

    homes = [home for home in home_grids(args.config) if remedies_of(home, args.imbalance)] if args.all else []
    homes = homes or [args.config]
    return [(home, Path(args.out) / home.rpartition("/")[2] if len(homes) > 1 else Path(args.out)) for home in homes]


def _compare(args: argparse.Namespace, config: str, out: Path) -> "Comparison | None":
    from imbdet.compare import compare

    jobs = args.jobs or (0 if args.engine == "ray" else 1)
    elsewhere = "mix" if args.engine == "ray" else "rerun" if args.rerun_elsewhere else "refuse"
    engine = functools.partial(_engine, args)
    with _gpus_hidden() if _without_gpus(args) else contextlib.nullcontext():
        return compare(
            _request(args, config, out), out, _report, engine, jobs, args.plan_only, args.retry_failed, elsewhere
        )


def _without_gpus(args: argparse.Namespace) -> bool:
    """Whether no run gets a GPU by the words, so that what measures for the plan must not take one either."""
    return args.gpus_per_run == 0 or (args.engine == "ray" and not args.gpus_per_run)


@contextlib.contextmanager
def _gpus_hidden() -> Iterator[None]:
    """Inside, processes that start see no GPU."""
    before = os.environ.get(VISIBLE_GPUS)
    os.environ[VISIBLE_GPUS] = ""
    try:
        yield
    finally:
        os.environ.pop(VISIBLE_GPUS) if before is None else os.environ.__setitem__(VISIBLE_GPUS, before)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "compare", "Compare remedies on one base config over several seeds, and judge the differences.", EXAMPLE
    )
    add = parser.add_argument
    add("--config", "--config-file", dest="config", metavar="C", help="the base: a config file or a shipped config")
    add("--remedy", action="append", default=[], metavar="A", help="one arm, A or A+B; may be given several times")
    add("--all", action="store_true", help="every shipped remedy on its home detector, in DIR/<baseline>")
    add("--imbalance", default="", metavar="I", help="with --all: only remedies of this imbalance")
    add("--seeds", default="5", metavar="S", help="how many (5: 0 to 4), or which (0,3,7); default: 5")
    add("--budget", choices=("iterations", "time"), default="iterations", help="what is equal for all arms")
    add("--split", choices=("val", "test"), default=None, help="evaluate the last weights on it (default: val)")
    add("--primary", default="", metavar="M", help="metric that decides verdicts (default: by the imbalance)")
    add(
        "--tune",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="tune each arm on val (repeatable); auto: its learning rate and a loss weight",
    )
    add("--start", default="", metavar="C", help="start all arms from this config, trained once a seed, or checkpoint")
    add(
        "--start-keeps",
        nargs="+",
        action=Words,
        default=[],
        metavar="P",
        help="taken from it (default: backbone.* neck.* rpn.*)",
    )
    add("--draw-data", action="store_true", help="draw new data for each seed (generated data only)")
    add("--resample-train", action="store_true", help="draw training images with replacement for each seed")
    add("--pilot", default="", metavar="R", help="results.jsonl or runs.csv of an earlier grid, for its noise")
    add("--no-controls", action="store_true", help="add no control arms (matched loss scale, matched iterations)")
    add("--out", required=True, metavar="DIR", help="the comparison's folder; an existing one is continued")
    add("--plan-only", "--print", action="store_true", help="print the plan and stop; nothing is written")
    add("--retry-failed", action="store_true", help="run failed cells again")
    add("--rerun-elsewhere", action="store_true", help="in incomplete seeds, repeat runs of other processors")
    add("--engine", choices=("local", "ray"), default="local", help="local processes, or tasks of a Ray cluster")
    add("--jobs", type=int, default=None, metavar="N", help="runs at once (local: 1; ray: as many as fit)")
    add("--cpus-per-run", type=int, default=None, metavar="N", help="threads of a run, if the config does not say")
    add(
        "--gpus-per-run",
        type=float,
        default=None,
        metavar="G",
        help="0, 1, or a fraction (Ray shares one; its default: 0)",
    )
    add(
        "--runs",
        nargs="+",
        action=Words,
        default=[],
        metavar="DIR",
        help="report on finished runs or comparisons; train nothing",
    )
    add_trust_argument(parser)
    add("overrides", nargs="*", metavar="key=value", help="set keys in all arms, e.g. train.max_iter=100")
    return parser


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Words that do not go together."""
    if args.runs:
        for name, given in vars(args).items():
            if name not in OF_RUNS and given not in (parser.get_default(name), []):
                name = "key=value" if name == "overrides" else f"--{name.replace('_', '-')}"
                parser.error(f"{name} has no meaning with --runs, which trains nothing")
    elif not args.config:
        parser.error("give --config BASE and what to compare with it, or --runs DIR DIR ... of existing runs")
    if args.imbalance and not args.all:
        parser.error("--imbalance goes with --all")
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be 1 or more")
    if args.cpus_per_run is not None and args.cpus_per_run < 1:
        parser.error(f"--cpus-per-run is {args.cpus_per_run}; it must be 1 or more")
    if args.gpus_per_run is not None and not 0 <= args.gpus_per_run <= 1:
        parser.error(f"--gpus-per-run is {args.gpus_per_run:g}; a run is one process, which uses at most one GPU")


def _request(args: argparse.Namespace, config: str, out: Path) -> "Request":
    from imbdet.compare.plan import parse_seeds
    from imbdet.compare.structures import Request
    from imbdet.cores import usable_cores

    share = 1 if args.engine == "ray" else max(1, usable_cores() // (args.jobs or 1))
    threads = args.cpus_per_run or share
    return Request(
        config=config,
        remedies=tuple(args.remedy),
        every=args.all,
        imbalance=args.imbalance,
        seeds=parse_seeds(args.seeds),
        overrides=_with_length(args, config, out, threads),
        budget=args.budget,
        split=args.split or "val",
        threads=threads,
        controls=not args.no_controls,
        primary=args.primary,
        pilot=args.pilot,
        tune=tuple(args.tune),
        start=args.start,
        **({"start_keeps": tuple(args.start_keeps)} if args.start_keeps else {}),
        draw_data=args.draw_data,
        resample_train=args.resample_train,
    )


def _with_length(args: argparse.Namespace, config: str, out: Path, threads: int) -> tuple[str, ...]:
    """The overrides, with the `train.time` of the baseline as iterations: measured once, then those of the grid."""
    from imbdet.compare.plan import has_plan, read_plan
    from imbdet.config import load_config
    from imbdet.engine.budget import with_length

    cfg = load_config(config, [], args.overrides)
    if cfg.train.get("batch_size"):
        raise ValueError("train.batch_size=auto may give arms unlike batches; set dataloader.train.batch_size")
    if not cfg.train.get("time"):
        return tuple(args.overrides)
    former = [
        word for word in (read_plan(out).overrides if has_plan(out) else ()) if word.startswith("train.max_iter=")
    ]
    if not former:
        cfg.train.num_threads = cfg.train.num_threads or threads
        former = [f"train.max_iter={with_length(cfg).train.max_iter}"]
    kept = [word for word in args.overrides if not word.startswith(("train.time=", "train.max_iter="))]
    return (*kept, *former, "train.time=")


def _engine(args: argparse.Namespace, plan: "Plan") -> Any:
    from imbdet.compare.executors import LocalEngine, RayEngine
    from imbdet.compare.structures import base_config

    if args.engine == "ray":
        cpus = args.cpus_per_run or int(base_config(plan).train.num_threads)
        return RayEngine(cpus, args.gpus_per_run or 0, args.jobs)
    return LocalEngine(args.jobs or 1, _gpus(args.gpus_per_run))


def _gpus(wanted: float | None) -> tuple[str, ...]:
    """The GPUs that local runs take in turns; () where there are none, ("",) hides them."""
    if wanted == 0:
        return ("",)
    import torch

    named = os.environ.get(VISIBLE_GPUS)
    ids = tuple(named.split(",")) if named else tuple(map(str, range(torch.cuda.device_count())))
    if wanted and not ids:
        raise ValueError(f"--gpus-per-run is {wanted:g}, but torch sees no GPU here; leave it out to train on the CPU")
    return ids


def _report(comparison: "Comparison", root: Path, records: "list[RunRecord]") -> None:
    """Write the reports, print the table and where they are."""
    from imbdet.report.comparison import terminal, write_comparison
    from imbdet.report.tensorboard import write_tensorboard

    files = write_comparison(comparison, root)
    board = write_tensorboard(root, records)
    print(f"\n{terminal(comparison)}\n")
    for path in files.values():
        print(f"  {path}")
    print(f"watch: tensorboard --logdir {shlex.quote(str(board))}")


def _command(argv: Sequence[str] | None) -> str:
    """What was typed."""
    words = list(sys.argv[1:] if argv is None else argv)
    if Path(sys.argv[0]).name == "imbdet" or argv is not None:
        return shlex.join(["imbdet", "compare", *words])
    return shlex.join(["python", sys.argv[0], *words])
