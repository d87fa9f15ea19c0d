"""Where objects lie."""

import numpy as np

from imbdet.data.places import fractal_dimension


def test_what_is_nowhere_does_not_count():
    centers, labels = np.array([[0.1, 0.2], [0.7, 0.4], [0.9, 0.9], [0.3, 0.6], [np.nan, 0.5]]), np.zeros(5, dtype=int)
    assert fractal_dimension(centers, labels, 1) == fractal_dimension(centers[:4], labels[:4], 1)
