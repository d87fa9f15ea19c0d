"""Numbers as short text: points, differences, probabilities, costs.

A number that is not defined is a dash, never a zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it brings scipy
    from ..evaluation.significance import Difference

DASH = "–"

COST = (
    ("step_seconds", "time a step"),
    ("step_ratio", "to the baseline's"),
    ("peak_memory_mib", "peak memory"),
    ("parameters", "parameters"),
    ("seconds", "a whole run"),
    ("adversary_steps", "steps of its adversary besides"),
    ("frequent_loss", "AP lost by frequent classes"),
)


def cost_text(key: str, value: float | None) -> str:
    """Return a cost with its unit, short."""
    if not known(value):
        return DASH
    if key == "step_seconds":
        return f"{value:.2f} s" if value >= 10 else f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    if key == "step_ratio":
        return f"×{value:.2f}"
    if key == "peak_memory_mib":
        return f"{value:,.0f} MiB"
    if key == "parameters":
        return f"{value / 1e6:.2f} M" if value >= 1e6 else f"{value:,.0f}"
    if key == "seconds":
        return duration(value)
    return signed(value) if key == "frequent_loss" else number(value)


def change(baseline: Any, arm: Any) -> str:
    """Compare the baseline's value of a meter with the arm's: the difference, and the ratio where both are positive."""
    if not known(baseline) or not known(arm):
        return DASH
    ratio = f" (×{arm / baseline:.2f})" if baseline > 0 and arm > 0 else ""
    return (f"{arm - baseline:+.3g}" if arm != baseline else "0") + ratio


def known(value: Any) -> bool:
    """Return a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> str:
    """Return a meter's value in four digits; what is no number as it is."""
    return f"{value:.4g}" if known(value) else DASH if value is None else str(value)


def points(value: float | None, digits: int = 2) -> str:
    """Map 0.5045 -> "50.45"; never "-0.00"."""
    return signed(value, digits).removeprefix("+")


def signed(value: float | None, digits: int = 2) -> str:
    """Map 0.0107 -> "+1.07"; what rounds to nothing has no sign."""
    if not known(value):
        return DASH
    text = f"{100 * value:+.{digits}f}"
    return text if float(text) else text[1:]


def mean_sd(mean: float | None, sd: float | None, digits: int = 2) -> str:
    """Format as "50.45 ± 0.31"; without a deviation (one seed) the mean alone."""
    return points(mean, digits) + (f" ± {points(sd, digits)}" if known(mean) and known(sd) else "")


def interval(found: Difference, digits: int = 2) -> str:
    """Format as "+0.33 to +1.81"; "" where there is none."""
    if not known(found.low) or not known(found.high):
        return ""
    return f"{signed(found.low, digits)} to {signed(found.high, digits)}"


def probability(value: float | None) -> str:
    """Format a share of draws, so that 0 and 1 are never said: "0.012", "<0.001" or ">0.999"."""
    return ">0.999" if known(value) and value > 0.999 else p_value(value)


def p_value(value: float | None) -> str:
    """Format as "0.012", "<0.001" or "1.000"."""
    if not known(value):
        return DASH
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Format as "42 s", "3 min 05 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def one_line(text: str) -> str:
    return " ".join(str(text).split())
