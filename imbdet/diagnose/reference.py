"""The same measures of public data sets, to be put beside the user's.

BCCD and Aquarium (their authors' training splits) were computed by `imbdet diagnose` itself, November 2026; LVIS's mean
is from the table of FRACAL's authors (Alexandridis et al. 2025, arXiv 2410.11774). What is not known here is absent.
"""

from __future__ import annotations

from typing import Any

#: as of `classes.imbalance`
IMBALANCE: list[dict[str, Any]] = [
    {
        "name": "BCCD train",
        "source": "computed",
        "classes": 3,
        "ratio": 11.392344497607656,
        "gini": 0.5164051355206848,
        "entropy": 0.7628188222619016,
        "effective_classes": 1.6968027007317867,
        "largest_share": 0.8491440798858774,
    },
    {
        "name": "Aquarium train",
        "source": "computed",
        "classes": 7,
        "ratio": 25.128205128205128,
        "gini": 0.5415932247108894,
        "entropy": 1.966755851117218,
        "effective_classes": 3.908881505311531,
        "largest_share": 0.5898284682515799,
    },
]

#: mean fractal dimension over the classes of a training split
FRACTAL: list[dict[str, Any]] = [
    {"name": "LVIS v1 train", "source": "arXiv 2410.11774", "mean": 1.64, "classes": 1203},
    {"name": "BCCD train", "source": "computed", "mean": 1.80, "classes": 3},
    {"name": "Aquarium train", "source": "computed", "mean": 1.74, "classes": 7},
]
