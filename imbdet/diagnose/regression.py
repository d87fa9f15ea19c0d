"""Section 6, regression loss: what the regression is to learn, and how few errors hold most of the loss.

Before any training the deltas are about 0, so that the error of each of the four values of a positive is its encoded
target. For an error e: L2 has the loss e^2 and the gradient 2|e|; L1 |e| and 1; smooth L1 with beta e^2 / (2 beta) and
|e| / beta below beta, |e| - beta / 2 and 1 above it.

Letters: P positives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .anchors import Anchored, Sample
from .structures import Missing

LARGEST = (0.01, 0.05, 0.10)
NAMES = ("dx", "dy", "dw", "dh")
BETA = 1.0  #: of smooth L1, as in Fast R-CNN (arXiv 1504.08083, equation 3)


def diagnose_regression(sample: Sample, part: Anchored) -> dict[str, Any]:
    """Return encoded targets of the sample's positives, and who holds the loss.

    Raises:
        Missing: no positive.
    """
    targets = sample.positives["deltas"].astype(np.float64)
    if not len(targets):
        raise Missing("No anchor is positive, so there is no regression target: see section 5")
    edges = np.linspace(*np.percentile(targets, [0.5, 99.5]), 31)
    return {
        "positives": len(targets),
        "beta": BETA,
        "targets": {
            name: {
                "mean": float(column.mean()),
                "deviation": float(column.std()),
                "percentiles": np.percentile(column, [1, 25, 50, 75, 99]).tolist(),
                "histogram": np.histogram(column, edges)[0].tolist(),
            }
            for name, column in zip(NAMES, targets.T, strict=True)
        },
        "edges": edges.tolist(),
        "held": held_by_largest(np.abs(targets).ravel()),
        "own": {
            "name": type(part.criterion.regression).__name__,
            "loss": shares_of_largest(np.sort(sample.positives["loss"])[::-1]),
            "gradient": shares_of_largest(np.sort(sample.positives["gradient"].ravel())[::-1]),
        },
    }


def losses(beta: float = BETA) -> dict[str, tuple[Callable, Callable]]:
    """Return {name: (loss, size of the gradient)} of an absolute error."""
    return {
        "L2": (lambda e: e**2, lambda e: 2 * e),
        f"smooth L1 (beta {beta:g})": (
            lambda e: np.where(e < beta, e**2 / (2 * beta), e - beta / 2),
            lambda e: np.where(e < beta, e / beta, 1.0),
        ),
        "L1": (lambda e: e, np.ones_like),
    }


def held_by_largest(errors: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Return {loss: {"loss", "gradient": share that the largest 1, 5, 10 % of the errors (E,) hold}}.

    At least one error is taken; an all-zero loss is held by none.
    """
    ordered = np.sort(np.abs(errors))[::-1]
    return {
        name: {"loss": shares_of_largest(loss(ordered)), "gradient": shares_of_largest(gradient(ordered))}
        for name, (loss, gradient) in losses().items()
    }


def shares_of_largest(ordered: np.ndarray) -> list[float]:
    """Return the share of the sum of values (E,), largest first, that the first 1, 5 and 10 % of them hold."""
    total = ordered.sum(dtype=np.float64)
    counts = [max(1, round(share * len(ordered))) for share in LARGEST]
    return [float(ordered[:count].sum(dtype=np.float64) / total) if total > 0 else 0.0 for count in counts]
