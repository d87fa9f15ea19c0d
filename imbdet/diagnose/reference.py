"""The same measures of public data sets, to be put beside the user's.

BCCD and Aquarium were computed with `imbdet diagnose` on the splits of their authors; COCO's follow from the counts
of instances_train2017.json (Lin et al. 2014, arXiv 1405.0312); LVIS's is from FRACAL's table (Alexandridis et al.
2025, arXiv 2410.11774). What is not known here is absent.
"""

from __future__ import annotations

from typing import Any

IMBALANCE: list[dict[str, Any]] = []

#: mean fractal dimension over the classes of a training split
FRACTAL: list[dict[str, Any]] = [
    {"name": "LVIS v1 train", "source": "arXiv 2410.11774", "mean": 1.64, "classes": 1203, "at_one": 139},
]
