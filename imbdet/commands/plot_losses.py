"""Draw the regression losses: value and gradient over error and IoU, and which boxes have the gradient."""

from collections.abc import Sequence

from . import add_trust_argument, make_parser

EXAMPLE = """
imbdet plot_losses --out losses.svg
  imbdet plot_losses --config baselines/retinanet_shapes --loss l2_loss --loss giou_loss --out two.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    from imbdet.report.losses import draw, losses_of, outliers_share

    parser = make_parser("plot_losses", "Draw the regression losses as a detector's config weighs them.", EXAMPLE)
    add_trust_argument(parser)
    parser.add_argument(
        "--config",
        default="baselines/faster_rcnn_shapes",
        metavar="C",
        help="the detector (default: baselines/faster_rcnn_shapes)",
    )
    parser.add_argument("--loss", action="append", default=[], metavar="NAME", help="only these remedies, e.g. l2_loss")
    parser.add_argument("--out", default="regression-losses.svg", metavar="FILE", help="write a .svg, .png or .pdf")
    args = parser.parse_args(argv)
    losses = losses_of(args.config, args.loss)
    draw(losses, args.out)
    print(f"{'loss':<14} {'weight':>7}  share of the gradient that the worst tenth of a batch has")
    for loss in losses:
        print(f"{loss.name:<14} {loss.weight:>7g}  {outliers_share(loss):.0%}")
    print(f"written to {args.out}")
    return 0
