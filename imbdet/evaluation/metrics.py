"""Every metric of this project, one row each: what it is called, what it is measured on, which direction is better.

Evaluation, bootstrap, comparisons, TensorBoard and reports read this table; a new metric of AP is one row here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..data.statistics import GROUPS

THRESHOLDS = np.linspace(0.5, 0.95, 10)  #: COCO's IoU thresholds
AREAS = ("all", "small", "medium", "large")  #: below 32^2, between, above 96^2 pixels, by the object's `area`

IOU, SIZE, FREQUENCY = "by IoU", "by size of the object", "by frequency of the class"
RECALL, LRP, TIDE = "recall", "localization recall precision", "AP50 lost to errors (TIDE)"


@dataclass(frozen=True)
class Metric:
    """One row.

    Attributes:
        name: its key in results. title: in words. heading: in a table, below its section's title.
        section: IOU, SIZE, FREQUENCY, RECALL, LRP or TIDE. iou: the one threshold it is measured at, None for the mean
            over all. area: one of AREAS. group: one of GROUPS, "" for all classes. lower_is_better: for errors.
    """

    name: str
    title: str
    section: str
    heading: str = ""
    iou: float | None = None
    area: str = "all"
    group: str = ""
    lower_is_better: bool = False

    @property
    def is_ap(self) -> bool:
        return self.section in (IOU, SIZE, FREQUENCY)

    @property
    def thresholds(self) -> slice:
        """The places in THRESHOLDS that it is the mean of."""
        if self.iou is None:
            return slice(0, len(THRESHOLDS))
        place = int(np.argmin(abs(THRESHOLDS - self.iou)))
        return slice(place, place + 1)


METRICS = (
    Metric("AP", "AP, IoU .50:.95", IOU),
    Metric("AP50", "AP, IoU .50", IOU, iou=0.5),
    Metric("AP75", "AP, IoU .75", IOU, iou=0.75),
    Metric("AP90", "AP, IoU .90", IOU, iou=0.9),
    Metric("APs", "AP, small (area < 32^2)", SIZE, "small", area="small"),
    Metric("APm", "AP, medium", SIZE, "medium", area="medium"),
    Metric("APl", "AP, large (area > 96^2)", SIZE, "large", area="large"),
    Metric("APr", "AP, rare classes", FREQUENCY, "rare", group="rare"),
    Metric("APc", "AP, common classes", FREQUENCY, "common", group="common"),
    Metric("APf", "AP, frequent classes", FREQUENCY, "frequent", group="frequent"),
    Metric("AR1", "AR, 1 per image and class", RECALL),  # one for each limit of the evaluation, these by default
    Metric("AR10", "AR, 10 per image and class", RECALL),
    Metric("AR100", "AR, 100 per image and class", RECALL),
    Metric("ARs", "AR, small", RECALL, area="small"),
    Metric("ARm", "AR, medium", RECALL, area="medium"),
    Metric("ARl", "AR, large", RECALL, area="large"),
    Metric("oLRP", "optimal localization recall precision", LRP, iou=0.5, lower_is_better=True),
    Metric("dCls", "right place, wrong class", TIDE, "class", iou=0.5, lower_is_better=True),
    Metric("dLoc", "right class, box off", TIDE, "place", iou=0.5, lower_is_better=True),
    Metric("dBoth", "class and box off", TIDE, "both", iou=0.5, lower_is_better=True),
    Metric("dDupe", "found before", TIDE, "duplicate", iou=0.5, lower_is_better=True),
    Metric("dBkg", "nothing there", TIDE, "background", iou=0.5, lower_is_better=True),
    Metric("dMiss", "not found", TIDE, "missed", iou=0.5, lower_is_better=True),
)
BY_NAME = {metric.name: metric for metric in METRICS}
OF_GROUP = {group: next(m for m in METRICS if m.group == group) for group in GROUPS}  #: AP of its classes

EVALUATED = tuple(m.name for m in METRICS if m.is_ap or m.section == RECALL)  #: what an evaluation reports
PRECISIONS = tuple(m.name for m in METRICS if m.is_ap)
COMPARED = tuple(m.name for m in METRICS if m.section != RECALL)  #: what comparisons judge
TIDE_ERRORS = tuple(m.name for m in METRICS if m.section == TIDE)
LOWER_IS_BETTER = frozenset(m.name for m in METRICS if m.lower_is_better)


def precisions(groups: bool = False) -> Iterator[Metric]:
    """Return AP over all classes (by IoU and by size), or of the groups of classes."""
    return (metric for metric in METRICS if metric.is_ap and bool(metric.group) == groups)
