"""Plots of the page as inline SVG without a script: bars, histograms, lines, points, heat maps, pictures with boxes.

Notable: colors are CSS variables of the page (`--c1` ...), so that one drawing serves light and dark. Every plot has
a title, both axes with their units, and a tooltip per mark. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .structures import Shown

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 250, 52, 10, 34, 42
MAX_NAMED = 6  #: marks of a picture with their words beside them; all have them as a tooltip
MAX_BARS = 40  #: classes drawn; the table and report.json hold all


def number(value: float | None) -> str:
    """Return three significant digits, no exponent below a million; an en dash for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def bars(title: str, names: Sequence[str], series: dict[str, Sequence[float | None]], unit: str, log=False) -> str:
    """Return horizontal bars, one group a name and one bar a series; at most MAX_BARS names, the first ones."""
    shown = len(names[:MAX_BARS])
    values = [v for row in series.values() for v in row[:shown] if v is not None]
    if not values:
        return ""
    if shown < len(names):
        title = f"{title} ({shown} of {len(names)})"
    bar, left = 9, 128
    each = bar * len(series) + 7
    bottom = TOP + 18 + shown * each
    scale = _Scale(min(0, *values) if not log else None, max(values), left, WIDTH - 46, log)
    parts = [_legend(series), _x_axis(scale, TOP + 16, bottom, unit)]
    for i, name in enumerate(names[:shown]):
        y = TOP + 20 + i * each
        parts.append(_text(left - 6, y + each / 2, _short(name), "end", "t", name))
        for j, (label, row) in enumerate(series.items()):
            value = row[i]
            if value is None:
                continue
            x0, x1 = sorted((scale(0 if not log else scale.low), scale(value)))
            what = f"{name}, {label}: {number(value)} {unit}"
            parts.append(_rect(x0, y + j * bar, max(x1 - x0, 0.8), bar - 1.5, f"c{j + 1}", what))
            if len(series) <= 4:  # more stand too close for words
                parts.append(_text(x1 + 4, y + j * bar + bar - 2, number(value), "start", "q s"))
    return _svg(title, bottom + 34, parts)


def histogram(title: str, edges: Sequence[float], series: dict[str, Sequence[float]], x: str, y: str, log=False) -> str:
    """Return steps over bins: `edges` has one more entry than each of the series."""
    if not any(sum(counts) for counts in series.values()):
        return ""
    scale = _Scale(edges[0], edges[-1], LEFT, WIDTH - RIGHT, log)
    tall = _Scale(0, max(max(counts) for counts in series.values()), HEIGHT - BOTTOM, TOP + 18)
    parts = [_legend(series), _x_axis(scale, TOP + 18, HEIGHT - BOTTOM, x), _y_axis(tall, y)]
    for j, (label, counts) in enumerate(series.items()):
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            if count:
                what = f"{label}: {number(count)} between {number(low)} and {number(high)} {x}"
                x0, x1, top = scale(low), scale(high), tall(count)
                wide = max((x1 - x0) / len(series), 0.5)
                parts.append(_rect(x0 + j * wide, top, max(wide - 0.6, 0.5), tall(0) - top, f"c{j + 1}", what))
    return _svg(title, HEIGHT, parts)


def lines(title: str, series: dict[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str, log=False) -> str:
    """Return lines with points, {label: (xs, ys)}; a label that begins with "=" is a thin reference line."""
    xs = [v for row, _ in series.values() for v in row]
    ys = [v for _, row in series.values() for v in row]
    if not xs:
        return ""
    scale = _Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log)
    tall = _Scale(min(0, *ys), max(*ys, 1e-9), HEIGHT - BOTTOM, TOP + 18)
    names = {label.lstrip("="): None for label in series}
    parts = [_legend(names), _x_axis(scale, TOP + 18, HEIGHT - BOTTOM, x), _y_axis(tall, y)]
    for j, (label, (row, column)) in enumerate(series.items()):
        points = " ".join(f"{scale(a):.1f},{tall(b):.1f}" for a, b in zip(row, column, strict=True))
        kind = "thin" if label.startswith("=") else "line"
        parts.append(f'<polyline class="{kind} k{j + 1}" points="{points}"/>')
        if kind == "line":
            for a, b in zip(row, column, strict=True):
                what = f"{label}: {number(b)} at {number(a)}"
                parts.append(
                    f'<circle class="c{j + 1}" cx="{scale(a):.1f}" cy="{tall(b):.1f}" r="3">{_tip(what)}</circle>'
                )
    return _svg(title, HEIGHT, parts)


def points(title: str, rows: Sequence[tuple[str, float, float]], x: str, y: str, log=False) -> str:
    """Return one labeled point a row (name, x, y); names are written where there are at most 15."""
    rows = [row for row in rows if row[1] is not None and row[2] is not None and (row[1] > 0 or not log)]
    if not rows:
        return ""
    scale = _Scale(min(r[1] for r in rows), max(r[1] for r in rows), LEFT + 12, WIDTH - 60, log)
    tall = _Scale(0, max(*(r[2] for r in rows), 1e-9), HEIGHT - BOTTOM, TOP + 10)
    parts = [_x_axis(scale, TOP + 6, HEIGHT - BOTTOM, x), _y_axis(tall, y)]
    for name, a, b in rows:
        what = f"{name}: {number(b)} {y}, {number(a)} {x}"
        parts.append(f'<circle class="c1" cx="{scale(a):.1f}" cy="{tall(b):.1f}" r="4">{_tip(what)}</circle>')
        if len(rows) <= 15:
            parts.append(_text(scale(a) + 6, tall(b) - 4, _short(name, 14), "start", "q s"))
    return _svg(title, HEIGHT, parts)


def matrix(title: str, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], down: str, across: str) -> str:
    """Return a heat map with names at both sides, each cell the darker the larger its value is (square root scale)."""
    values = np.asarray(values, dtype=np.float64)
    if not values.size or not np.nanmax(values) > 0:
        return ""
    left, top = 118, TOP + 96
    cell = min(26.0, (WIDTH - left - 44) / values.shape[1])
    parts = [_text(left, TOP + 14, f"columns: {across}; rows: {down}", "start", "q")]
    small = "s" if cell < 13 else ""
    for i, name in enumerate(rows):
        parts.append(_text(left - 5, top + (i + 0.5) * cell + 4, _short(name, 16), "end", f"t {small}", name))
    for j, name in enumerate(columns):
        parts.append(_turned(left + (j + 0.6) * cell, top - 5, _short(name, 13), -60, f"t {small}", "start", name))
    most = float(np.nanmax(values))
    for (i, j), value in np.ndenumerate(values):
        what = f"{rows[i]}, {columns[j]}: {number(float(value))}"
        shade = math.sqrt(max(float(value), 0) / most)
        parts.append(_cell(left + j * cell, top + i * cell, cell, shade, what))
        if cell >= 24:
            kind = "s on" if shade > 0.55 else "s"
            parts.append(
                _text(left + (j + 0.5) * cell, top + (i + 0.5) * cell + 3, _tiny(float(value)), "middle", kind)
            )
    return _svg(title, top + cell * len(rows) + 12, parts)


def heat(title: str, grid: np.ndarray, note: str = "", size: int = 150) -> str:
    """Return a square map of where on the picture something is; x to the right, y down, as in the picture."""
    grid = np.asarray(grid, dtype=np.float64)
    if not grid.size or not grid.max() > 0:
        return ""
    n, top, left = len(grid), 30, 16
    cell = size / n
    parts = [_text(2, 12, _short(title, 24), "start", "h", title), _text(2, 25, note, "start", "q s")]
    parts.append(f'<rect class="frame" x="{left}" y="{top}" width="{size}" height="{size}"/>')
    for (i, j), value in np.ndenumerate(grid):
        if value:
            what = f"{number(float(value))} objects"
            parts.append(_cell(left + j * cell, top + i * cell, cell, math.sqrt(value / grid.max()), what))
    parts.append(_text(left + size / 2, top + size + 12, "x / width", "middle", "q s"))
    parts.append(_turned(11, top + size / 2, "y / height", -90, "q s", "middle"))
    return _svg(title, top + size + 18, parts, left + size + 6, heading=False)


def picture(shown: Shown) -> str:
    """Return a picture with its boxes; what it is shown for is drawn thick and solid, the rest thin."""
    size = max(shown.width, shown.height) / 22
    named = sum(mark.kind == "odd" for mark in shown.marks) <= MAX_NAMED
    parts = [f'<image href="{shown.uri}" width="{shown.width}" height="{shown.height}"/>']
    for mark in sorted(shown.marks, key=lambda mark: mark.kind == "odd"):
        box = f'x="{mark.x:.1f}" y="{mark.y:.1f}" width="{mark.width:.1f}" height="{mark.height:.1f}"'
        parts.append(f'<g>{_tip(mark.label)}<rect class="halo" {box}/><rect class="box m-{mark.kind}" {box}/></g>')
        if mark.kind == "odd" and named:
            right = mark.x > 0.55 * shown.width
            x, y = (mark.x + mark.width if right else max(mark.x, 2)), max(mark.y - size / 4, size)
            place = f'x="{min(x, shown.width - 2):.0f}" y="{y:.0f}" text-anchor="{"end" if right else "start"}"'
            parts.append(f'<text class="tag" font-size="{size:.0f}" {place}>{escape(_short(mark.label, 22))}</text>')
    label = escape(shown.caption, quote=True)
    return f'<svg viewBox="0 0 {shown.width} {shown.height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


class _Scale:
    """A value -> its place in pixels, linear or by the logarithm."""

    def __init__(self, low: float | None, high: float, start: float, end: float, log: bool = False):
        self.log = log
        if log:
            low = max(low if low and low > 0 else 0.5, 1e-9)
            high = max(high, low * 1.001)
        elif not high > low:
            high = low + 1
        self.low, self.high, self.start, self.end = float(low), float(high), start, end

    def __call__(self, value: float) -> float:
        a, b, v = self.low, self.high, max(float(value), 1e-12)
        if self.log:
            share = (math.log(max(v, a)) - math.log(a)) / (math.log(b) - math.log(a))
        else:
            share = (float(value) - a) / (b - a)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            decades = [10.0**e for e in range(first, last + 1)]
            step = max(1, -(-len(decades) // most))
            return decades[::step] if len(decades) > 1 else [self.low, self.high]
        raw = (self.high - self.low) / most
        base = 10.0 ** math.floor(math.log10(raw))
        step = next(m * base for m in (1, 2, 2.5, 5, 10) if m * base >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, int(math.floor(self.high / step + 1e-9)) + 1)]


def _x_axis(scale: _Scale, top: float, bottom: float, label: str) -> str:
    parts = []
    for tick in scale.ticks():
        x = scale(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}"/>')
        parts.append(_text(x, bottom + 13, number(tick), "middle", "q s"))
    name = f"{label} (log scale)" if scale.log else label
    return "".join([*parts, _text((scale.start + scale.end) / 2, bottom + 28, name, "middle", "q")])


def _y_axis(scale: _Scale, label: str) -> str:
    parts = []
    for tick in scale.ticks(4):
        y = scale(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 4, y + 4, number(tick), "end", "q s"))
    middle = (scale.start + scale.end) / 2
    return "".join([*parts, _turned(11, middle, label, -90, "q", "middle")])


def _legend(names) -> str:
    names = list(names)
    if len(names) < 2:
        return ""
    parts, x = [], 4.0
    for j, name in enumerate(names):
        parts.append(f'<rect class="c{j + 1}" x="{x:.0f}" y="{TOP - 9}" width="9" height="9"/>')
        parts.append(_text(x + 13, TOP - 1, name, "start", "q"))
        x += 24 + 6.4 * len(name)
    return "".join(parts)


def _svg(title: str, height: float, parts: list[str], width: float = WIDTH, heading: bool = True) -> str:
    head = _text(2, 15, _short(title, 58), "start", "h", title) if heading else ""
    box, label = f"0 0 {width:.0f} {height:.0f}", escape(title, quote=True)
    return f'<svg class="plot" viewBox="{box}" role="img" aria-label="{label}">{head}{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, kind: str, tip: str = "") -> str:
    inside = (_tip(tip) if tip and tip != text else "") + escape(text)
    return f'<text class="{kind.strip()}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{inside}</text>'


def _turned(x: float, y: float, text: str, angle: int, kind: str, anchor: str, tip: str = "") -> str:
    place = f'transform="translate({x:.1f},{y:.1f}) rotate({angle})" text-anchor="{anchor}"'
    return f'<text class="{kind.strip()}" {place}>{_tip(tip) if tip and tip != text else ""}{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, kind: str, tip: str) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box}>{_tip(tip)}</rect>'


def _cell(x: float, y: float, side: float, shade: float, tip: str) -> str:
    box = f'x="{x:.1f}" y="{y:.1f}" width="{side:.2f}" height="{side:.2f}"'
    return f'<rect class="heat" {box} fill-opacity="{shade:.3f}">{_tip(tip)}</rect>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _short(text: str, most: int = 19) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _tiny(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
