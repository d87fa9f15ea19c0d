"""The same measures of public data sets, to be put beside the user's.

Where they come from, which the page names in each row:
- BCCD and Aquarium, their authors' training splits: computed by `imbdet diagnose` itself, November 2026.
- LVIS v1 train: computed from the 1,270,141 boxes by class in lvis_v1_train_cat_info.json (read in the
  repository empMEMORY/vision-language-fsod, datasets/metadata) and its 100,170 images (Gupta et al. 2019, arXiv
  1908.03195); the mean fractal dimension is from the table of FRACAL's authors (Alexandridis et al. 2025, arXiv
  2410.11774).
- VOC 2007 trainval: computed from its database statistics (5,011 images, 12,608 objects that are not difficult), as
  SSD-Tensorflow has them (balancap/SSD-Tensorflow, datasets/pascalvoc_2007.py).
- COCO: objects per image from its paper (Lin et al. 2014, arXiv 1405.0312, section 5), shares of sizes, by the area of
  masks, from its page on evaluation (cocodataset.org, detection-eval, note 4).

What no source was found for is absent: the class ratio of COCO, sizes of LVIS and VOC.
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
    {
        "name": "VOC 2007 trainval",
        "source": "computed from its statistics",
        "classes": 20,
        "ratio": 21.813953488372093,
        "gini": 0.47775222081218277,
        "entropy": 3.503404447432736,
        "effective_classes": 11.34043792296264,
        "largest_share": 0.37198604060913704,
    },
    {
        "name": "LVIS v1 train",
        "source": "computed from its counts",
        "classes": 1203,
        "ratio": 50552.0,
        "gini": 0.8200774690566669,
        "entropy": 8.119052137629613,
        "effective_classes": 278.02142046659087,
        "largest_share": 0.03980030563535859,
    },
]

#: mean objects per image
OBJECTS: list[dict[str, Any]] = [
    {"name": "BCCD train", "source": "computed", "images": 205, "mean": 2804 / 205},
    {"name": "Aquarium train", "source": "computed", "images": 448, "mean": 3323 / 448},
    {"name": "VOC 2007 trainval", "source": "computed from its statistics", "images": 5011, "mean": 12608 / 5011},
    {"name": "LVIS v1 train", "source": "computed from its counts", "images": 100170, "mean": 1270141 / 100170},
    {"name": "COCO", "source": "arXiv 1405.0312", "mean": 7.7},
]

#: shares of the objects by area, below 32², below 96² and above
SIZES: list[dict[str, Any]] = [
    {"name": "BCCD train", "source": "computed", "small": 23 / 2804, "medium": 855 / 2804, "large": 1926 / 2804},
    {"name": "Aquarium train", "source": "computed", "small": 1623 / 3323, "medium": 1430 / 3323, "large": 270 / 3323},
    {"name": "COCO, area of masks", "source": "cocodataset.org", "small": 0.41, "medium": 0.34, "large": 0.24},
]

#: mean fractal dimension over the classes of a training split
FRACTAL: list[dict[str, Any]] = [
    {"name": "LVIS v1 train", "source": "arXiv 2410.11774", "mean": 1.64, "classes": 1203},
    {"name": "BCCD train", "source": "computed", "mean": 1.80, "classes": 3},
    {"name": "Aquarium train", "source": "computed", "mean": 1.74, "classes": 7},
]
