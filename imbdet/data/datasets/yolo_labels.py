"""Lines of YOLO label files: boxes, polygons, oriented boxes and key points, told apart.

Notable: the dialects are not marked in the files. Five numbers are a box, and class with pairs of numbers is a polygon
(an oriented box is one of four corners). Boxes with key points are as long as polygons, so that `kpt_shape` of
data.yaml says it; lines that look like key points without it are refused with both readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Box = tuple[float, float, float, float]  # center x, center y, width, height, fractions of the picture


@dataclass
class LineReader:
    """Reads the lines of one split.

    Args:
        names: {number in the label files: class name}.
        key_points: (number, values each) of data.yaml's `kpt_shape`; (0, 0) says that there are none, None nothing.
    """

    names: Mapping[int, str]
    key_points: tuple[int, int] | None = None
    _long: list[list[float]] = field(default_factory=list)

    def __post_init__(self):
        self.position = {number: i for i, number in enumerate(self.names)}

    def read(self, line: str) -> tuple[int, Box]:
        """Return (label, box) of a line; labels count the names through.

        Raises:
            ValueError: what is wrong with it.
        """
        parts = line.split()
        try:
            values = [float(part) for part in parts]
        except ValueError:
            raise ValueError("expected numbers: class cx cy width height") from None
        box = self._box(values)
        if not all(map(math.isfinite, values)):
            raise ValueError("expected finite numbers")
        return self._label(parts[0], values[0]), box

    def _box(self, values: list[float]) -> Box:
        n = len(values)
        if any(self.key_points or ()) and n != 5:
            points, each = self.key_points
            if n != 5 + points * each:
                raise ValueError(
                    f"{n} numbers; expected {5 + points * each}, as kpt_shape is [{points}, {each}]: class cx cy "
                    "width height and the key points"
                )
            _refuse_pixels(values[1:5])
            return tuple(values[1:5])
        if n != 5 and (n < 7 or n % 2 == 0):
            raise ValueError(f"{n} numbers; expected five: class cx cy width height, or class and a polygon{_hint(n)}")
        _refuse_pixels(values[1:])
        if n == 5:
            return tuple(values[1:])
        self._long.append(values[1:])
        x, y = values[1::2], values[2::2]
        return (min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)

    def _label(self, text: str, value: float) -> int:
        if value in self.position and value == int(value):
            return self.position[int(value)]
        numbers = sorted(self.names)
        if numbers == list(range(len(numbers))):
            raise ValueError(f"class {text}; expected a whole number in 0..{len(numbers) - 1}")
        first, last = numbers[0], numbers[-1]
        raise ValueError(
            f"class {text} is not among the numbers of `names` ({first} is {self.names[first]!r} ... {last} is "
            f"{self.names[last]!r}). If the labels count these names from 0 instead (0 is {self.names[first]!r}), "
            "number the names from 0 in data.yaml"
        )

    def doubt(self) -> str:
        """Return why the lines read as polygons so far may be boxes with key points; "" where they are polygons."""
        lengths = {len(values) for values in self._long}
        if self.key_points or len(lengths) != 1:
            return ""
        (length,) = lengths
        for each in (3, 2):
            if length > 4 and (length - 4) % each == 0 and all(_gives_box(values, each) for values in self._long):
                inside = sum(_is_inside(values, each) for values in self._long)
                if not self._is_doubtful(each, inside == len(self._long)):
                    continue
                points = (length - 4) // each
                return (
                    f"all {len(self._long)} lines have {length + 1} numbers, and data.yaml has no kpt_shape. Read as "
                    f"boxes with {points} key points, all points lie in their boxes in {inside} lines: if so, add "
                    f"`kpt_shape: [{points}, {each}]` to data.yaml. Read as polygons of {length // 2} corners they "
                    "give other boxes: if so, add `kpt_shape: [0, 0]`"
                )
        return ""

    def _is_doubtful(self, each: int, inside: bool) -> bool:
        """Whether lines that give boxes may hold key points. Of three values a point, each third being 0, 1 or 2, they
        do if all points lie in the boxes or a third value is 2, which no corner is. Of two, if the second corner of a
        polygon would lie apart from its others in some line: it is the width and height of the box.
        """
        if each == 3:
            return inside or any(2 in values[6::3] for values in self._long)
        return not all(map(_second_is_near, self._long))


def _refuse_pixels(values: Sequence[float]) -> None:
    if any(value > 2 for value in values):
        raise ValueError("the numbers are to be fractions of the picture (0..1), not pixels")


def _hint(n: int) -> str:
    if n == 6:
        return ". A sixth number may be a confidence (of a detection) or an angle (of an oriented box): neither is read"
    if n > 5 and (n - 5) % 3 == 0:
        return f". If these are {(n - 5) // 3} key points of three numbers, add `kpt_shape: [{(n - 5) // 3}, 3]`"
    return ""


def _second_is_near(values: Sequence[float]) -> bool:
    """Whether the second corner of a polygon lies among the others; the width and height of a box do not."""
    points = list(zip(values[0::2], values[1::2], strict=True))
    others = list(zip(*(p for i, p in enumerate(points) if i != 1 and any(p)), strict=True))  # (0, 0): a point not seen
    if not others:
        return True
    reach = max(max(axis) - min(axis) for axis in others)
    return all(min(o) - reach <= value <= max(o) + reach for value, o in zip(points[1], others, strict=True))


def _gives_box(values: Sequence[float], each: int) -> bool:
    """Whether the first four numbers are a box on the picture, and each third one after them says what is seen."""
    cx, cy, width, height = values[:4]
    on_picture = min(cx - width / 2, cy - height / 2) >= -0.02 and max(cx + width / 2, cy + height / 2) <= 1.02
    return on_picture and (each == 2 or all(value in (0, 1, 2) for value in values[6::3]))


def _is_inside(values: Sequence[float], each: int) -> bool:
    """Whether the numbers after the first four are points in the box that those give; (0, 0) is a point not seen."""
    cx, cy, width, height = values[:4]
    points = zip(values[4::each], values[5::each], strict=True)
    return all(abs(x - cx) <= 0.55 * width and abs(y - cy) <= 0.55 * height for x, y in points if x or y)
