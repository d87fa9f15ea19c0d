"""What can be wrong with boxes, decided once, for whole columns; used on files, on records and by the repair."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1.0  # pixels that a box may reach over its image: rounding, and formats that count the last pixel


def classify_boxes(xywh: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> dict[str, np.ndarray]:
    """Find wrong boxes.

    Args:
        xywh: (M, 4) left, top, width, height in pixels.
        widths, heights: (M,) of the image that each box is in; NaN where unknown.

    Returns:
        {code: bool (M,)}; a box is in one of the masks at most.
    """
    with np.errstate(all="ignore"):  # comparisons with NaN are false, as wanted
        finite = np.isfinite(xywh).all(axis=1)
        left, top, width, height = xywh.T
        right, bottom = left + width, top + height
        negative = finite & ((width < 0) | (height < 0))
        zero = finite & ~negative & ((width == 0) | (height == 0))
        rest = finite & ~negative & ~zero
        outside = rest & ((left >= widths) | (top >= heights) | (right <= 0) | (bottom <= 0))
        over = (left < -TOLERANCE) | (top < -TOLERANCE) | (right > widths + TOLERANCE) | (bottom > heights + TOLERANCE)
    return {
        "box_not_finite": ~finite,
        "box_negative_size": negative,
        "box_zero_size": zero,
        "box_outside": outside,
        "box_partly_outside": rest & ~outside & over,
    }


def guess_convention(xywh: np.ndarray, widths: np.ndarray, heights: np.ndarray) -> str | None:
    """Return what the boxes seem to be if not pixels of [left, top, width, height]; None: they seem to be that.

    Judged from all boxes together: fractions of the image are all at most 1; corners [left, top, right, bottom] are all
    inside the image as corners while many of them (a tenth) are outside it as sizes.
    """
    known = np.isfinite(xywh).all(axis=1) & np.isfinite(widths) & np.isfinite(heights)
    if known.sum() < 5:
        return None
    boxes, width, height = xywh[known], widths[known], heights[known]
    if (boxes >= 0).all() and (boxes <= 1).all() and (width > 8).all():
        return "fractions of the image (0..1), not pixels"
    as_corners = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    as_corners &= (boxes[:, 2] <= width + TOLERANCE) & (boxes[:, 3] <= height + TOLERANCE)
    with np.errstate(over="ignore"):
        right, bottom = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    as_sizes_outside = (right > width + TOLERANCE) | (bottom > height + TOLERANCE)
    if as_corners.all() and as_sizes_outside.mean() > 0.1:
        return "corners [left, top, right, bottom], not [left, top, width, height]"
    return None


def impossible_areas(areas: np.ndarray, xywh: np.ndarray) -> np.ndarray:
    """Return bool (M,): an `area` that is not positive, or larger than its box by more than rounding."""
    with np.errstate(all="ignore"):
        width, height = xywh[:, 2], xywh[:, 3]
        return ~((areas > 0) & (areas <= 1.05 * width * height + 2 * (width + height) + 1) & np.isfinite(areas))


def area_fits(area: float, width: float, height: float, mask_area: float | None) -> bool:
    """Return whether a possible `area` fits the box or the mask (its area), which differ by rounding.

    A quarter and two pixels around the outline are allowed: masks are drawn on whole pixels, and polygons of one object
    may overlap. Without a mask (None), an area that is a small part of the box may be that of a mask left out: a
    twentieth is. A mask of NaN is one that cannot be read, by which nothing is judged.
    """
    box_area, slack = width * height, 2 * (width + height) + 1
    if mask_area is None:
        return area >= 0.05 * box_area
    if mask_area != mask_area:
        return True
    low, high = min(mask_area, box_area), max(mask_area, box_area)
    return 0.75 * low - slack <= area <= 1.25 * high + slack
