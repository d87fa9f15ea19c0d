"""Filter, resample or split a data set, and write it to a new folder with the origin of each picture."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import make_parser, parse

EXAMPLE = """
imbdet balance IN OUT --target equal --copies 4            equal boxes a class, as far as the pictures allow it
  imbdet balance IN OUT --target ratio:10 --dry-run          say what is reachable and what would come out
  imbdet balance IN OUT --target car=0.4,bus=0.3             shares of the boxes; the rest goes to the others
  imbdet balance IN OUT --over-sample auto                   imbalanced-learn's draws; also --under-sample
  imbdet balance IN OUT --repeat-factor 0.001                LVIS's repeat factors; 0 takes the median class
  imbdet balance IN OUT --split 0.8,0.1,0.1 --at-least 5     stratified; near-duplicates stay together
  imbdet balance IN OUT --folds 5 --group '^(\\w+)_'          k folds; pictures of one group stay together
  imbdet balance IN OUT --merge car,truck=vehicle --drop-class sign --rename bike=bicycle
  imbdet balance IN OUT --size 8: --aspect 0.1:10 --outliers 2.5 --border 1 --removed crowd
  imbdet balance IN OUT --sharpness 50: --exposure 20:235 --no-empty --group field:camera --drop-group 3
  imbdet balance IN OUT --cap 1000                           no class above 1000 boxes; car=500,bus=100 for some
  imbdet balance IN OUT --make-imbalanced 100                for experiments; also --size-skew 5, --label-noise 0.1
  imbdet balance IN OUT --format yolo --pictures copy        same data, another format
"""


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[2:] if argv is None else argv)
    parser = _parser()
    args = parse(parser, argv)
    if len(args.words) < 2:
        parser.error("name the data set and a folder for the result: imbdet balance IN OUT")
    *paths, out = args.words
    missing = [path for path in paths if not os.path.exists(os.path.expanduser(path))]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file or folder (all words but the last are the input)")
    from imbdet.balance import balance, write
    from imbdet.balance.export import check_out

    command = _command(argv, paths, out)
    _, provenance = balance(paths, command=command, progress=True, **_options(args))
    print(provenance.table())
    if args.json:
        from imbdet.write import write_json

        write_json(args.json, provenance.to_dict())
    if args.dry_run:
        check_out(Path(out), provenance, args.overwrite)
        print("dry run: nothing was written")
        return 0
    print(f"wrote {write(provenance, out, args.format, args.pictures, args.overwrite)}")
    return 0


def _command(argv: list[str], paths: list[str], out: str) -> str:
    """How to do it again; without the folders above the input and with OUT for the result, so that it is the same for
    the same data wherever it lies.
    """
    words = [word for word in argv if word not in ("--overwrite", "--dry-run")]
    for path in (*paths, out):
        words.remove(path)
    return shlex.join(["imbdet", "balance", *(Path(path).resolve().name for path in paths), "OUT", *words])


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `imbdet.balance` that were given."""
    from imbdet.balance.options import Options, names_of, read_equations

    given = {key: value for key, value in vars(args).items() if key in Options.__dataclass_fields__}
    given = {key: value for key, value in given.items() if value is not None and value != []}
    for key in ("keep_class", "drop_class", "keep_group", "drop_group", "order", "on", "pool"):
        if key in given:
            given[key] = names_of(given[key])
    for key in ("rename", "merge"):
        if key in given:
            given[key] = read_equations(given[key], many=key == "merge")
    return given


def _read(name: str) -> Callable[[str], Any]:
    """A reader of `balance.options` as an argparse type, imported when it is used."""

    def read(text: str) -> Any:
        from imbdet.balance import options

        try:
            return getattr(options, name)(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("balance", __doc__ or "", EXAMPLE)
    parser.add_argument("words", nargs="*", metavar="IN OUT", help="a folder (COCO, VOC, YOLO) or COCO files; then OUT")
    _add_filters(parser)
    _add_resampling(parser)
    _add_split_and_output(parser)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    """Of classes, boxes and pictures."""
    add = parser.add_argument_group("classes (in all splits)").add_argument
    add("--rename", action="append", default=[], metavar="OLD=NEW", help="rename a class")
    add("--merge", action="append", default=[], metavar="OLD,OLD=NEW", help="merge classes")
    add("--keep-class", action="append", default=[], metavar="NAME,...", help="leave out all others")
    add("--drop-class", action="append", default=[], metavar="NAME,...", help="leave out these")
    add = parser.add_argument_group("boxes").add_argument
    span = _read("read_range")
    add("--size", type=span, metavar="LOW:HIGH", help="sqrt(width * height) in pixels; either end may be left out")
    add("--aspect", type=span, metavar="LOW:HIGH", help="width / height")
    add(
        "--outliers",
        type=float,
        metavar="K",
        help="leave out area or aspect beyond K interquartile ranges of the class",
    )
    add("--border", type=float, metavar="PX", help="leave out boxes nearer than PX to the border of the picture")
    add(
        "--removed",
        choices=("drop", "crowd", "picture"),
        help="boxes that are left out: drop them (default; still visible, so learned as background), mark them as "
        "crowd (neither trained on nor counted), or leave out the picture",
    )
    add = parser.add_argument_group("pictures").add_argument
    add("--sharpness", type=span, metavar="LOW:HIGH", help="variance of the Laplacian; blurred pictures have little")
    add("--exposure", type=span, metavar="LOW:HIGH", help="mean gray level, 0..255")
    add("--no-empty", dest="empty", action="store_false", default=None, help="leave out pictures without boxes")
    add("--group", metavar="SPEC", help="how to group pictures: a regular expression on names, or field:NAME (COCO)")
    add("--keep-group", action="append", default=[], metavar="NAME,...", help="leave out all others")
    add("--drop-group", action="append", default=[], metavar="NAME,...", help="leave out these")


def _add_resampling(parser: argparse.ArgumentParser) -> None:
    """And what makes data for experiments."""
    add = parser.add_argument_group("fewer or more pictures (of the training split)").add_argument
    add("--cap", type=_read("read_cap"), metavar="N", help="at most N boxes of each class; or CLASS=N,...")
    add(
        "--over-sample",
        type=_read("read_strategy"),
        metavar="S",
        help="imbalanced-learn's sampling_strategy: auto, ...",
    )
    add("--under-sample", type=_read("read_strategy"), metavar="S", help="the same; or CLASS=PICTURES,...")
    add("--repeat-factor", type=float, metavar="T", help="threshold, a share of the pictures; 0: the median class's")
    add("--target", type=_read("read_target"), metavar="T", help="equal, sqrt, power:P, ratio:R, or CLASS=SHARE,...")
    add("--copies", type=int, metavar="N", help="how often a picture may appear (default 4, drawn ones 10)")
    add("--keep-images", type=float, metavar="SHARE", help="least share of pictures to keep (default 0.5)")
    add("--keep-all", action="store_true", default=None, help="every picture at least once")
    add = parser.add_argument_group("experiments (on the training split)").add_argument
    add("--make-imbalanced", type=float, metavar="RATIO", help="of the most to the least frequent class")
    add("--order", action="append", default=[], metavar="NAME,...", help="classes, most frequent first")
    add("--size-skew", type=float, metavar="R", help="boxes above the median side for each one below")
    add("--label-noise", type=float, metavar="SHARE", help="boxes that get a wrong class")


def _add_split_and_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("split").add_argument
    add("--split", type=_read("read_split"), metavar="SHARES", help="0.8,0.1,0.1 or train=0.8,val=0.2")
    add("--folds", type=int, metavar="K", help="K folds in place of parts")
    add("--at-least", type=int, metavar="N", help="at least N pictures of each class in each part")
    add("--no-near-duplicates", dest="near_duplicates", action="store_false", default=None, help="let them fall apart")
    add("--pool", action="append", default=[], metavar="SPLIT,...", help="splits that are split anew (default: all)")
    add = parser.add_argument_group("output").add_argument
    add("--on", action="append", default=[], metavar="SPLIT,...", help="what filters and resampling act on")
    add("--seed", type=int, metavar="N", help="of all random choices (default 0)")
    add("--format", choices=("same", "coco", "yolo", "voc"), default="same", help="default: as the input")
    add("--pictures", choices=("link", "copy", "in-place"), default="link", help="default: symbolic links")
    add("--overwrite", action="store_true", help="replace a folder that this command wrote")
    add("--dry-run", action="store_true", help="print the tables and write nothing")
    add("--json", metavar="FILE", help="also write the tables there (with --dry-run)")
