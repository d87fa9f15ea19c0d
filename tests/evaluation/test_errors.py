"""One planted mistake of each type is counted as that type."""

import pytest

from imbdet.evaluation import evaluate_coco
from imbdet.evaluation.errors import TYPES, error_types

from .cases import perfect, truth

X = 60  # objects of an image stand this far apart


def planted(name):
    """8 objects in one image of 2 classes, all found but for one mistake."""
    document = truth(boxes=8, classes=2, images=1)
    rows = perfect(document)
    x, y, w, h = rows[0]["bbox"]
    other = 3 - rows[0]["category_id"]
    if name == "Cls":
        rows[0]["category_id"] = other
    elif name == "Loc":
        rows[0]["bbox"] = [x - 0.6 * w, y, w, h]  # IoU .25
    elif name == "Both":
        rows[0].update(bbox=[x - 0.6 * w, y, w, h], category_id=other)
    elif name == "Dupe":
        rows.append({**rows[0], "score": 0.8})
    elif name == "Bkg":
        rows.append({**rows[0], "bbox": [x + 50 * X, y, w, h], "score": 0.95})
    elif name == "Miss":
        del rows[0]
    return document, rows


@pytest.mark.parametrize("name", TYPES)
def test_a_planted_mistake_is_of_its_type(name):
    document, rows = planted(name)
    errors = error_types(document, rows)
    # With an object of wrong box and class nothing is near enough to mend, so it is missed as well.
    expected = {name, "Miss"} if name == "Both" else {name}
    assert {key for key, count in errors["counts"].items() if count} == expected
    assert errors["AP"] == pytest.approx(evaluate_coco(document, rows)["AP50"])
    if name not in ("Both", "Dupe"):
        assert errors["delta"][name] > 0.01


def test_wrong_thresholds():
    with pytest.raises(ValueError, match="iou is 0.1 and background 0.5"):
        error_types(truth(), [], iou=0.1, background=0.5)
