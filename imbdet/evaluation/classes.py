"""The classes of a model and those of the data it is evaluated on, matched by name.

The rule, wherever they differ: category ids and the order of classes never matter. A class of the data that the model
does not know is left out of every mean, with its objects, unless it is asked to count as not found. Detections of a
class that the data lacks are dropped. Both are listed. Sharing no class at all is an error.
"""

from __future__ import annotations

import numpy as np

from ..data.class_names import match_names
from ..data.datasets.classes import listed
from .detections import Detections
from .ground_truth import GroundTruth


def match_classes(truth: GroundTruth, found: Detections, count_unknown: bool = False) -> tuple[GroundTruth, Detections]:
    """Bring detections to the labels of the ground truth, by the rule at the top of this file.

    Args:
        found: with the model's `class_names`; without any, its labels are taken for those of the ground truth.
        count_unknown: objects of classes that the model does not know count as not found, so such a class has AP 0.

    Returns:
        The ground truth, with notes and warnings on what was left out, and the detections.

    Raises:
        ValueError: no class is shared, with both lists.
    """
    if not found.class_names or found.class_names == truth.class_names:
        return truth, found
    place = match_names(found.class_names, truth.class_names)
    if max(place, default=-1) < 0:
        raise ValueError(
            f"the model and {truth.name} share no class. The model knows {listed(found.class_names, 20)}; the data has "
            f"{listed(truth.class_names, 20)}. Classes are matched by name: give the same class the same name"
        )
    unknown = [label for label in range(truth.num_classes) if label not in place]
    if unknown:
        truth = _without(truth, unknown, count_unknown)
    found, dropped = found.relabeled(truth.class_names)
    if dropped:
        names = listed([f"{name} ({count})" for name, count in dropped.items()], 20)
        truth.notes.append(
            f"{len(dropped)} classes of the model are not in the data; their {sum(dropped.values())} detections are "
            f"dropped: {names}"
        )
    return truth, found


def _without(truth: GroundTruth, unknown: list[int], count: bool) -> GroundTruth:
    """The ground truth without the objects of these classes, or (count) with them; either way with a warning."""
    boxes = truth.class_counts()
    names = listed([f"{truth.class_names[k]} ({boxes[k]})" for k in unknown], 20)
    said = f"{len(unknown)} of {truth.num_classes} classes of the data are not known to the model (objects): {names}. "
    if count:
        truth.warnings.append(said + "They count as not found: AP 0 where there are objects")
        return truth
    rest = truth.leave_out(np.array(unknown))
    rest.warnings.append(said + "They are left out of every mean; --count-unknown counts them as AP 0")
    return rest
