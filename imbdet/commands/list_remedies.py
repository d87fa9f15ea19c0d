"""List the remedies, by imbalance, slot or detector."""

from collections.abc import Sequence
from pathlib import Path

from . import add_trust_argument, make_parser, parse

EXAMPLE = """
imbdet list_remedies --slot classification
  imbdet list_remedies --detector baselines/retinanet_shapes
  imbdet list_remedies --write README.md
"""


def main(argv: Sequence[str] | None = None) -> int:
    from imbdet.remedies import index

    parser = make_parser("list_remedies", "List the remedies, as their docstrings describe them.", EXAMPLE)
    parser.add_argument("--slot", metavar="S", help="only those that fill this slot")
    parser.add_argument("--imbalance", metavar="I", help=f"one of {', '.join(index.IMBALANCES)}")
    parser.add_argument("--detector", metavar="C", help="only those that this config, e.g. retinanet_shapes, can take")
    add_trust_argument(parser)
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    parser.add_argument("--write", metavar="FILE", help="renew the table between the markers of a Markdown file")
    args = parse(parser, argv)
    chosen = index.choose(args.slot, args.imbalance, args.detector)
    if args.write:
        path = Path(args.write)
        old = path.read_text(encoding="utf-8")
        new = index.with_table(old, args.write)
        if new != old:
            path.write_text(new, encoding="utf-8")
        print(f"{path}: {'table renewed' if new != old else 'table is up to date'}")
    elif args.markdown:
        print(index.remedy_table_markdown(chosen))
    else:
        print(index.remedy_table(chosen))
    return 0
