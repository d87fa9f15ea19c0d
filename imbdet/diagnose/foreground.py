"""Section 2, foreground and background: how many anchors of each level are positive, before and after the sampler."""

from __future__ import annotations

from typing import Any

from .anchors import Anchored, Sample


def diagnose_foreground(sample: Sample, part: Anchored) -> dict[str, Any]:
    """Return means per image of the matched sample."""
    counts = {name: rows.mean(axis=0) for name, rows in sample.counts.items()}
    levels = [
        {"level": name, "stride": stride, **{key: float(values[i]) for key, values in counts.items()}}
        for i, (name, stride) in enumerate(part.strides.items())
    ]
    total = {name: float(values.sum()) for name, values in counts.items()}
    per_image = sample.counts["foreground"].sum(axis=1)
    return {
        "images": len(sample.images),
        "levels": levels,
        "total": total,
        "negatives_per_positive": _ratio(total["background"], total["foreground"]),
        "kept_negatives_per_positive": _ratio(total["kept_background"], total["kept_foreground"]),
        "images_without_positive": int((per_image == 0).sum()),
        "sampler": type(part.criterion.region_sampler).__name__,
        "matcher": type(part.criterion.matcher).__name__,
        "known_after_a_run": part.beside,
    }


def _ratio(a: float, b: float) -> float | None:
    return a / b if b else None
