"""Explain one remedy: formula, source, what it changes, its files, how to test it, and where to read about it."""

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from . import add_trust_argument, make_parser, parse

EXAMPLE = """
imbdet remedy focal_loss
  imbdet remedy focal_loss --config baselines/faster_rcnn_shapes
"""


def main(argv: Sequence[str] | None = None) -> int:
    from imbdet.config import configs_dir, diff, load_config, locate
    from imbdet.config.remedy import find_remedy
    from imbdet.remedies import index

    parser = make_parser("remedy", "Print formula, source, diff, files and test command of a remedy.", EXAMPLE)
    parser.add_argument("name", help="as `imbdet list_remedies` shows it")
    parser.add_argument("--config", default="", metavar="C", help="where to show the diff (default: its own baseline)")
    add_trust_argument(parser)
    args = parse(parser, argv)
    remedy = find_remedy(args.name)
    shipped = remedy.path.is_relative_to(configs_dir())
    entries = [entry for entry in index.entries() if shipped and entry.name == remedy.name]
    for entry in entries:
        print(f"{entry.target}\n\n{indent(inspect.getdoc(locate(entry.target)) or '', '    ')}\n")
    baseline = args.config or remedy.baseline
    lines = diff(load_config(baseline), load_config(baseline, [args.name]))
    print(f"Changes on {baseline}:\n")
    print(indent("\n".join(line for line in lines if not line.startswith("remedies")), "    "))
    files, test = [remedy.path], None
    if entries:
        root = Path(index.__file__).resolve().parents[2]
        files.insert(0, root / "imbdet" / "remedies" / entries[0].imbalance / f"{remedy.name}.py")
        test = root / "tests" / "remedies" / entries[0].imbalance / f"test_{remedy.name}.py"
    if test is not None and test.is_file():
        files.append(test)
    print("\nFiles:\n\n" + indent("\n".join(map(os.path.relpath, files)), "    "))
    if len(files) == 3:
        every = [os.path.relpath(root / "tests" / "remedies" / f"test_{what}.py") for what in ("contract", "behavior")]
        words = " ".join(["python -m pytest", os.path.relpath(files[2]), *every, "-k", remedy.name])
        print(f"\nTest:\n\n    {words}")
    if len(files) > 1:
        pages = [root / "docs" / "remedies" / f"{name}.md" for name in (remedy.name, entries[0].imbalance, "index")]
        pages = [os.path.relpath(page) for page in pages if page.is_file()]
        if pages:  # none where the wheel is installed
            print("\nRead about it:\n\n" + indent("\n".join(pages), "    "))
    return 0
