"""Check a data set before training: report all that is wrong in one run, and repair what can be repaired."""

from __future__ import annotations

import argparse
import json
import os
import sys

import msgspec

from imbdet.data.checks.findings import Findings
from imbdet.data.checks.fix import CannotFix, repair
from imbdet.data.checks.rules import ERROR
from imbdet.data.checks.run import Split, check_splits_fully, open_splits
from imbdet.write import write_whole

_EPILOG = """\
exit code: 0 no errors (there may be warnings), 1 errors, 2 wrong use
example:
  imbdet check_data DIR                                a folder in COCO, Pascal VOC or YOLO format, all its splits
  imbdet check_data train.json val.json --images DIR   two splits, also against each other; the training split first
  imbdet check_data train.json --images DIR --fix fixed.json
  imbdet check_data train.json --images DIR --fix fixed.json --drop    also drops what cannot be repaired
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(argv)
    findings = Findings()
    try:
        splits = open_splits(options.paths, options.images, findings)
    except (FileNotFoundError, ValueError) as error:
        print(f"check_data: {error}", file=sys.stderr)
        return 2
    problem = _wrong_use(options, splits)
    if problem:
        print(f"check_data: {problem}", file=sys.stderr)
        return 2
    _check(splits, findings, options)
    for split in splits:
        print(_headline(split))
    print(findings.summary(options.max))
    try:
        if options.json:
            write_whole(options.json, _json(findings.to_dict()))
        if options.fix:
            return _fix(splits[0], options)
    except CannotFix as error:
        print(f"check_data: nothing was written: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"check_data: {error}", file=sys.stderr)
        return 2
    if findings.count(severity=ERROR) and any(f.fixable for f in findings):
        print("Repair what is marked with [--fix]: run this on one file with --fix FIXED.json")
    return 1 if findings.has_errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imbdet check_data",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="FILE_OR_DIR", help="COCO JSON files, or folders; training first")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures; default: looked for around the file")
    parser.add_argument("--fix", metavar="OUT.json", help="write a repaired copy of the one file that is checked")
    parser.add_argument(
        "--drop", action="store_true", help="with --fix: drop the entries in which nothing can be computed"
    )
    parser.add_argument("--json", metavar="OUT.json", help="write all findings")
    parser.add_argument("--max", type=int, default=3, metavar="N", help="examples of each kind (default 3)")
    parser.add_argument("--headers-only", action="store_true", help="read only the headers of pictures: faster")
    return parser


def _wrong_use(options: argparse.Namespace, splits: list[Split]) -> str | None:
    if options.images is not None and not os.path.isdir(options.images):
        return f"--images {options.images}: no such folder"
    if options.drop and not options.fix:
        return "--drop goes with --fix OUT.json"
    if options.fix:
        if len(splits) != 1:
            return f"--fix repairs one file at a time, but these are {len(splits)} splits: name one annotation file"
        if os.path.exists(options.fix) and any(os.path.samefile(options.fix, s.file) for s in splits if s.coco):
            return f"--fix {options.fix}: is the file that is checked; name another, so that nothing is lost"
    return None


def _check(splits: list[Split], findings: Findings, options: argparse.Namespace) -> None:
    from tqdm import tqdm

    with tqdm(unit="picture", desc="pictures", disable=None, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        check_splits_fully(splits, findings, decode=not options.headers_only, progress=progress)


def _headline(split: Split) -> str:
    if split.coco is None:
        return f"{split.file}: not readable"
    counts = ", ".join(
        f"{len(split.coco[part]) if isinstance(split.coco.get(part), list) else 'no'} {part}"
        for part in ("images", "annotations", "categories")
    )
    return f"{split.file}: {counts}; pictures in {split.folder or '(not found)'}"


def _fix(split: Split, options: argparse.Namespace) -> int:
    """Write the repaired file, say what was done, check it again; returns the exit code for what is left."""
    if split.coco is None:
        raise CannotFix("the file is not readable")
    fixed, account = repair(split.coco, split.pictures, options.drop)
    write_whole(options.fix, _json(fixed))
    print(f"\nwrote {options.fix}:\n" + "\n".join(f"  {line}" for line in account.lines()))
    left = Findings()
    again = Split(options.fix, fixed, split.folder)
    check_splits_fully([again], left, decode=not options.headers_only)
    print(f"\n{options.fix} checked:\n{left.summary(options.max)}")
    return 1 if left.has_errors else 0


def _json(content: dict) -> bytes:
    """JSON in which NaN has become null; numbers beyond 64 bits are written as they are."""
    try:
        return msgspec.json.encode(content)
    except (OverflowError, ValueError):
        return json.dumps(content).encode()


if __name__ == "__main__":
    sys.exit(main())
