"""List the remedies, by imbalance, slot or detector."""

from collections.abc import Sequence
from pathlib import Path

from . import add_trust_argument, make_parser, parse

EXAMPLE = """
imbdet list_remedies --slot classification
  imbdet list_remedies --detector baselines/retinanet_shapes
  imbdet list_remedies --write
"""


def main(argv: Sequence[str] | None = None) -> int:
    from imbdet.remedies import index

    parser = make_parser("list_remedies", "List the remedies, as their docstrings describe them.", EXAMPLE)
    parser.add_argument("--slot", metavar="S", help="only those that fill this slot")
    parser.add_argument("--imbalance", metavar="I", help=f"one of {', '.join(index.IMBALANCES)}")
    parser.add_argument("--detector", metavar="C", help="only those that this config, e.g. retinanet_shapes, can take")
    add_trust_argument(parser)
    parser.add_argument("--markdown", action="store_true", help="print the tables of docs/remedies/index.md")
    parser.add_argument(
        "--write",
        nargs="?",
        const=".",
        metavar="DIR",
        help=f"renew the tables in {' and '.join(index.PAGES)} of a checkout (default: the current folder)",
    )
    args = parse(parser, argv)
    chosen = index.choose(args.slot, args.imbalance, args.detector)
    if args.write:
        for name in index.PAGES:
            path = Path(args.write, name)
            if not path.is_file():
                raise ValueError(f"--write needs a checkout of imbdet, {args.write!r} has no {name}")
            old = path.read_text(encoding="utf-8")
            new = index.with_table(old, name)
            if new != old:
                path.write_text(new, encoding="utf-8")
            print(f"{path}: {'table renewed' if new != old else 'table is up to date'}")
    elif args.markdown:
        print(index.index_markdown(chosen))
    else:
        print(index.remedy_table(chosen))
    return 0
