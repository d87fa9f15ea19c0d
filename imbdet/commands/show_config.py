"""Print a config: all of it, one part, its slots, or what differs from another."""

from collections.abc import Sequence

from . import add_config_arguments, changes, config_from, make_parser, parse

EXAMPLE = """
imbdet show_config --config baselines/faster_rcnn_shapes --remedy focal_loss --key model
  imbdet show_config --config baselines/retinanet_shapes --slots
  imbdet show_config --config output/run --diff baselines/faster_rcnn_shapes
"""


def main(argv: Sequence[str] | None = None) -> int:
    from imbdet.config import diff, load_config, select, slots_of, to_yaml

    parser = make_parser("show_config", "Print a config as YAML, its interpolations resolved.", EXAMPLE)
    add_config_arguments(parser)
    parser.add_argument("--key", default="", metavar="K", help="only this part, e.g. model.criterion")
    parser.add_argument("--diff", default="", metavar="OTHER", help="the lines in which it differs from another config")
    parser.add_argument("--slots", action="store_true", help="which slots it has and what fills them")
    parser.add_argument("--raw", action="store_true", help="leave interpolations such as ${data.train} as they are")
    args = parse(parser, argv)
    cfg = config_from(args)
    if args.print:
        print("\n".join(changes(args, cfg)) or "no difference")
    elif args.diff:
        print("\n".join(diff(load_config(args.diff), cfg)) or "no difference")
    elif args.slots:
        rows = [(slot, key, filler) for slot, (key, filler) in slots_of(cfg).items()]
        widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
        print("\n".join(f"{slot:<{widths[0]}}  {key:<{widths[1]}}  {filler}" for slot, key, filler in rows))
    else:
        print(to_yaml(select(cfg, args.key) if args.key else cfg, resolve=not args.raw), end="")
    return 0
