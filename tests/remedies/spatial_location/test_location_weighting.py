"""Location weighting: neutral, by hand, a naive loop, no objects, and classes on a line against even ones."""

import numpy as np
import pytest
import torch

from imbdet.data.places import fractal_dimension
from imbdet.remedies.spatial_location.location_weighting import LocationWeighting
from tests.helpers import regions


def weights(module, labels):
    values = torch.ones(len(labels))
    (classification, regression), _ = module(values, values, regions(labels))
    assert torch.equal(regression, values)
    return classification


def test_neutral_setting_weighs_all_alike():
    assert torch.equal(weights(LocationWeighting([1, 1.5, 2], [9, 9, 1], power=0), [0, 1, 2, 3, -1]), torch.ones(5))


def test_by_hand():
    """Power 2: 1/4 and 1; ten boxes of each: scaled by 20 / 12.5 = 1.6 to 0.4 and 1.6."""
    module = LocationWeighting([2.0, 1.0, 1.0], [10, 10, 0])
    assert weights(module, [0, 1, 2, 3, -1]).tolist() == pytest.approx([0.4, 1.6, 1, 1, 1])


def test_a_naive_loop():
    d, n = [1.2, 1.9, 1.4], [100, 7, 30]
    raw = [x**-1.5 for x in d]
    scale = sum(n) / sum(a * b for a, b in zip(n, raw, strict=True))
    found = LocationWeighting(d, n, power=1.5).table.tolist()
    assert found == pytest.approx([scale * x for x in raw] + [1])
    assert sum(a * b for a, b in zip(n, found, strict=False)) == pytest.approx(sum(n), rel=1e-5)


def test_one_class_no_objects_and_bad_settings():
    assert LocationWeighting([1.7], [12]).table.tolist() == pytest.approx([1, 1])
    assert torch.equal(weights(LocationWeighting([1, 1, 1], [0, 0, 0]), [3, 3]), torch.ones(2))
    for bad in ({"power": -1}, {"limit": 0.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            LocationWeighting([1], [1], **bad)
    with pytest.raises(ValueError, match="dimensions are 1 or more"):
        LocationWeighting([0.5], [1])


def test_mechanism_the_class_on_a_line_gains_up_to_the_limit():
    rng = np.random.default_rng(0)
    even, line = rng.random((900, 2)), np.stack([rng.random(100), np.full(100, 0.7)], axis=1)
    labels = np.repeat([0, 1], [900, 100])
    d = fractal_dimension(np.concatenate([even, line]), labels, 2)
    table = LocationWeighting(d, [900, 100]).table
    assert d[0] > 1.7 and d[1] < 1.1 and table[1] > 2.5 * table[0]
    assert LocationWeighting(d, [9000, 1], limit=2).table[1] == 2
