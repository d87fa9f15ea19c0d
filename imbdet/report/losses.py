"""Regression losses as a picture: value and gradient against an error and against IoU, and who has the gradient.

Every loss is taken as a detector's config has it, with its weight, and evaluated inside of a batch of 2000 boxes of
which a tenth are outliers, since some losses look at the whole batch.

Letters: R boxes of that batch, E points of a curve.
"""

import copy
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import criterion_of, instantiate, load_config
from ..remedies import index
from ..remedies.spatial_regression._boxes import BoxLoss
from ..slots import BoxForm
from ..structures import Matched
from .plots import BLUE, GRAY, GREEN, INK, ORANGE, PURPLE, QUIET, RED, STYLE

R, OUTLIERS = 2000, 200
#: deviation of an inlier's and of an outlier's error, in sides of the box
DEVIATION, OUTLIER_DEVIATION = 0.03, 0.3
SOLID, DASHED = "-", (0, (4, 2))  # CIoU and DIoU lie on each other where the ratio of the sides is right
LINES = [(BLUE, SOLID), (ORANGE, SOLID), (GREEN, DASHED), (PURPLE, SOLID), (RED, SOLID), (GRAY, SOLID), (INK, SOLID)]
LINES += [(BLUE, DASHED), (ORANGE, DASHED), (GREEN, SOLID), (PURPLE, DASHED), (RED, DASHED), (GRAY, DASHED)]


@dataclass
class Loss:
    """A loss as a config has it."""

    name: str
    value: Any
    weight: float
    box_coder: Any

    @property
    def on_boxes(self) -> bool:
        return isinstance(self.value, BoxLoss)

    def evaluate(self, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """What the head says of boxes that should not move (E, 4) -> loss (E,) and its gradient (E, 4), weighted."""
        batch = torch.cat((deltas, typical_errors(self.box_coder)))
        batch = torch.cat((batch, batch.new_zeros(len(batch), self.value.extra_values)), dim=1).requires_grad_()
        value = copy.deepcopy(self.value)  # some keep a running state, and each picture is a first batch
        values = value(batch, _regions(len(batch)), self.box_coder)[0] * self.weight
        (gradient,) = torch.autograd.grad(values.sum(), batch)
        return values[: len(deltas)].detach(), gradient[: len(deltas), :4]


def losses_of(config: str, names: Sequence[str] = ()) -> list[Loss]:
    """The regression losses that the remedies of these names put on `config`; on deltas first. By default all but box
    forms, whose outputs are no deltas that one could draw them against.

    Raises:
        ValueError: a name that is no regression loss, or a box form. FileNotFoundError: no such config.
    """
    known = [entry.name for entry in index.choose("regression", "spatial_regression")]
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is not a regression loss; they are {', '.join(known)}")
    found = []
    for name in names or known:
        criterion = criterion_of(load_config(config, [name]))
        weight, coder = criterion.get("regression_weight", 1.0), instantiate(criterion.box_coder)
        value = instantiate(criterion.regression)
        if not isinstance(value, BoxForm):
            found.append(Loss(name.removesuffix("_loss"), value, weight, coder))
        elif names:
            raise ValueError(f"{name!r} cannot be drawn: its outputs are {value.num_values} values in place of deltas")
    return sorted(found, key=lambda loss: loss.on_boxes)


def typical_errors(box_coder: Any) -> Tensor:
    """Deltas (R, 4) of a batch: mostly small errors, a tenth of them (the first) ten times larger."""
    generator = torch.Generator().manual_seed(0)
    deviation = torch.full((R, 1), DEVIATION)
    deviation[:OUTLIERS] = OUTLIER_DEVIATION
    return torch.randn(R, 4, generator=generator) * deviation * torch.tensor(box_coder.weights)


def outliers_share(loss: Loss) -> float:
    """How much of the batch's gradient the outliers have."""
    gradient = loss.evaluate(typical_errors(loss.box_coder))[1].abs().sum(dim=1)
    return (gradient[:OUTLIERS].sum() / gradient.sum()).item()


def shifted(loss: Loss, most: float, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """A box moved by 0..most of its widths -> the shift, the loss, the size of its gradient with respect to dx."""
    shift = torch.linspace(0.0, most, points + 1)[1:]  # at 0 the gradient is that of a kink
    values, gradient = loss.evaluate(_only(0, shift * loss.box_coder.weights[0]))
    return shift, values, gradient[:, 0].abs()


def stretched(loss: Loss, most: float, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """A box 1/most..most times as wide -> that factor, the loss, the size of its gradient with respect to dw."""
    steps = torch.linspace(-1.0, 1.0, points // 2 * 2)  # an even number, so not through the kink
    width = steps * torch.tensor(most).log()
    values, gradient = loss.evaluate(_only(2, width * loss.box_coder.weights[2]))
    return width.exp(), values, gradient[:, 2].abs()


def _only(column: int, values: Tensor) -> Tensor:
    deltas = torch.zeros(len(values), 4)
    deltas[:, column] = values
    return deltas


def _regions(r: int) -> Matched:
    """r boxes of 100 x 100 that are their own targets."""
    zeros, box = torch.zeros(r, dtype=torch.long), torch.tensor([0.0, 0, 100, 100]).expand(r, 4)
    return Matched(zeros, zeros, torch.ones(r), zeros, zeros, box, box, num_classes=1, num_images=1)


def draw(losses: Sequence[Loss], path: str | Path, points: int = 90) -> None:
    """Write the picture; the suffix of `path` says as what (.svg, .png, .pdf).

    Raises:
        ValueError: there is no loss, or the suffix is of no picture.
    """
    import matplotlib

    if not losses:
        raise ValueError("there is no loss to draw")
    kinds = ("svg", "png", "pdf")
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in kinds:
        raise ValueError(f"{path}: the file must end in {', '.join(f'.{k}' for k in kinds)}")
    families = [[loss for loss in losses if loss.on_boxes == on_boxes] for on_boxes in (False, True)]
    families = [family for family in families if family]
    look = {**STYLE, "axes.grid": True, "svg.hashsalt": "losses", "figure.facecolor": "white"}
    with matplotlib.rc_context(look):
        picture = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else None
        _figure(families, points).savefig(picture, format=kind, dpi=110, metadata=metadata)
    content = picture.getvalue()
    if kind == "svg":  # a tenth of a point is fine enough for paths, and half the size
        content = re.sub(rb' d="[^"]+"', lambda path: re.sub(rb"(\.\d)\d+", rb"\1", path[0]), content)
    Path(path).write_bytes(content)


def _figure(families: list[list[Loss]], points: int) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.5 * len(families) + 0.26 * sum(map(len, families)) + 0.9))
    heights = [4.5] * len(families) + [0.26 * sum(map(len, families)) + 0.9]
    parts = figure.subfigures(len(families) + 1, 1, height_ratios=heights)
    for part, family in zip(parts, families, strict=False):
        on_boxes = family[0].on_boxes
        sweeps = (
            (shifted, 2.0 if on_boxes else 0.3, "shift of the box, in its widths", lambda s: (1 - s) / (1 + s)),
            (stretched, 4.0, "width of the box, times the true one", lambda f: min(f, 1 / f)),
        )
        axes = part.subplots(2, 2, sharex="col")
        for column, (sweep, most, label, iou) in enumerate(sweeps):
            _curves(axes[0, column], axes[1, column], family, sweep, most, points)
            axes[1, column].set_xlabel(label)
            if sweep is stretched:
                axes[1, column].set_xscale("log", base=2)
                axes[1, column].xaxis.set_major_formatter("{x:g}")
            _iou_above(axes[0, column], most, sweep is stretched, iou)
        axes[0, 0].set_title(f"Losses on {'boxes' if on_boxes else 'deltas'}, with their weights", pad=20)
        axes[1, 0].set_title("Size of the gradient, of dx here")
        axes[1, 1].set_title("of dw here")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        part.legend(handles, labels, loc="outside right center", fontsize=8.5)
    _bars(parts[-1].subplots(), [loss for family in families for loss in family])
    return figure


def _curves(above: Any, below: Any, family: list[Loss], sweep: Any, most: float, points: int) -> None:
    """The losses in one place, their gradients in the other, cut off where the few largest would hide the rest."""
    tops: tuple[list[float], list[float]] = ([], [])
    for loss, (color, dash) in zip(family, LINES, strict=False):
        x, *curves = (line.tolist() for line in sweep(loss, most, points))
        for axes, y, top in zip((above, below), curves, tops, strict=True):
            axes.plot(x, y, color=color, linestyle=dash, linewidth=1.4, label=loss.name, zorder=2 + (dash != SOLID))
            top.append(max(y))
    for axes, top in zip((above, below), tops, strict=True):
        usual = sorted(top)[len(top) // 2]
        axes.set_ylim(0, 1.06 * min(max(top), 2.2 * usual))
        axes.set_xlim(1 / most if sweep is stretched else 0, most)


def _iou_above(axes: Any, most: float, factor: bool, iou: Any) -> None:
    """The IoU of a few places, written above the panel."""
    look = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    look.update(color=QUIET, annotation_clip=False)
    for x in [1 / 4, 1 / 2, 1, 2, 4] if factor else [most * i / 6 for i in range(7)]:
        text = f"{iou(x):.2f}".rstrip("0").rstrip(".")
        text = "IoU 1" if text == "1" else "apart" if iou(x) < 0 else text
        axes.annotate(text, (x, 1), (0, 4), **look)


def _bars(axes: Any, losses: list[Loss]) -> None:
    """The outliers' share of the gradient, largest first."""
    shares = sorted((outliers_share(loss), loss.name, loss.on_boxes) for loss in losses)
    for on_boxes, color in ((False, ORANGE), (True, BLUE)):
        own = [row for row, share in enumerate(shares) if share[2] == on_boxes]
        what = "losses on boxes" if on_boxes else "losses on deltas"
        axes.barh(own, [shares[row][0] for row in own], height=0.62, color=color, label=what)
    axes.set_yticks(range(len(shares)), [name for _, name, _ in shares])
    for row, (share, _, _) in enumerate(shares):
        axes.annotate(f"{share:.0%}", (share, row), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(OUTLIERS / R, color=INK, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_title("Who pulls: the share of a batch's gradient that the worst tenth of its boxes has (dashed: a tenth)")
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")
