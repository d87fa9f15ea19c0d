"""Sections 3 and 4 against numbers by hand, a double loop, scipy, and the config's own resize."""

import numpy as np
import pytest
import torch

from imbdet.data.augment import ResizeShortestEdge
from imbdet.diagnose.place import diagnose_place, divergence, fractal_dimension
from imbdet.diagnose.size import diagnose_size, distance, outliers, scales, usable
from imbdet.diagnose.structures import Missing

from .helpers import box, make_records


def test_scales_are_those_of_the_resize_on_real_pictures():
    """Sizes that round: 101 x 50 to a short side of 33 gives 67 x 33 by ResizeShortestEdge's own arithmetic."""
    sizes = [(101, 50), (50, 101), (101, 50), (640, 480)]
    records = make_records([[]] * 4, sizes=sizes)
    resize = ResizeShortestEdge(33, 60)
    for factor, (width, height) in zip(scales(records, resize), sizes, strict=True):
        picture, target = torch.zeros(3, height, width, dtype=torch.uint8), {"boxes": torch.tensor([[0.0, 0, 10, 20]])}
        resized, target = resize(picture, target, np.random.default_rng(0))
        assert factor == pytest.approx([resized.shape[2] / width, resized.shape[1] / height])
        assert target["boxes"][0, 2:].numpy() == pytest.approx(factor * [10, 20])
    assert (scales(records, None) == 1).all()


def test_shares_below_areas_after_a_resize():
    """100 x 100 pictures to 50 x 50: boxes of 20, 4 and 1 px become 10, 2 and 0.5 px: areas 100, 4 and 0.25."""
    records = make_records([[box(0, w=20, h=20), box(1, w=4, h=4)], [box(1, w=1, h=1), box(2, w=0, h=5)]])
    numbers = diagnose_size({"train": records}, ResizeShortestEdge(50, 100), stride=4, configured=True)
    own = numbers["resizes"]["the config's own resize"]
    assert own["below"] == pytest.approx({"1": 1 / 3, "4": 1 / 3, "9": 2 / 3, "16": 2 / 3, "64": 2 / 3})
    assert own["below_stride"] == pytest.approx(2 / 3) and own["median_side"] == pytest.approx(2)
    assert own["small"] == 1 and numbers["resizes"]["short side 800"]["small"] == pytest.approx(1 / 3)
    rows = {row["name"]: row for row in numbers["rows"]}
    assert rows["b"]["boxes"] == 2 and rows["b"]["side"][2] == pytest.approx(1.25) and "c" not in rows
    assert rows["a"]["aspect"][2] == 1 and rows["a"]["below_stride"] == 0
    assert sum(numbers["side_histogram"]["counts"]) == 3


def test_no_box_with_an_area_is_said():
    with pytest.raises(Missing, match="no size to show"):
        diagnose_size({"train": make_records([[box(0, w=0, h=0)], []])})


def test_distance_in_interquartile_ranges():
    """Quartiles of 0..8 are 2 and 6: 8 lies 2/4 outside, 18 would lie 3 outside."""
    values = np.arange(9.0)
    assert distance(values)[[0, 4, 8]] == pytest.approx([0.5, 0, 0.5])
    assert distance(np.append(values, 30.0))[-1] == pytest.approx((30 - 6.75) / 4.5)
    assert distance(np.array([1.0, 1, 1, 1, 1, 5]))[-1] == np.inf and distance(np.ones(4)).sum() == 0


def test_outliers_equal_scipys_quartiles():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    sides = np.exp(rng.normal(2, 0.3, 60))
    sides[7] = 90
    records = make_records([[box(0, 0, 0, s, s)] for s in sides])
    found = outliers(records, usable(records))
    logs = np.log(sides**2 / 1e4)
    iqr, (low, high) = stats.iqr(logs), np.percentile(logs, [25, 75])
    assert found["rows"][0]["area"][0] == ((logs < low - 1.5 * iqr) | (logs > high + 1.5 * iqr)).sum()
    assert found["worst"][0]["object"] == 7 and found["worst"][0]["what"] == "area"
    assert found["rows"][0]["aspect"] == [0, 0]


def test_fractal_dimension_of_known_sets():
    """An even 64 x 64 grid fills the square (2); a line has 1; 16 equal points have slope 0, whose floor is 1."""
    axis = (np.arange(64) + 0.5) / 64
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    line = np.stack([axis, np.full(64, 0.51)], axis=1)
    point, few = np.full((16, 2), 0.3), np.array([[0.1, 0.1], [0.9, 0.9], [0.4, 0.2]])
    centers = np.concatenate([grid, line, point, few])
    labels = np.repeat(np.arange(4), [len(grid), 64, 16, 3])
    assert fractal_dimension(centers, labels, 5) == pytest.approx([2, 1, 1, 1, 1], abs=1e-9)


def test_fractal_dimension_against_a_loop():
    rng = np.random.default_rng(0)
    centers = rng.normal(0.5, 0.15, (300, 2)).clip(0, 1)
    x, y = [], []
    for g in range(1, 18):  # 17 * 17 <= 300 < 18 * 18
        cells = {(min(int(a * g), g - 1), min(int(b * g), g - 1)) for a, b in centers}
        x.append(np.log(g))
        y.append(np.log(len(cells)))
    slope = pytest.importorskip("scipy.stats").linregress(x, y).slope
    assert 1 < slope < 2
    assert fractal_dimension(centers, np.zeros(300, int), 1)[0] == pytest.approx(slope)


def test_divergence_of_one_cell_and_of_chance():
    """All in one of 64 cells is log2(64) = 6 bits; evenly spread centers have no more than chance."""
    rng = np.random.default_rng(0)
    assert divergence(np.full((50, 2), 0.01), rng)["divergence"] == pytest.approx(6)
    even = divergence(rng.random((5000, 2)), rng)
    assert even["divergence"] == pytest.approx(even["divergence_by_chance"], rel=0.5) and even["divergence"] < 0.03


def test_heat_maps_and_border():
    """100 x 200 pictures: the center of (0, 0, 50, 100) is at x 1/4, y 1/4; of (90, 150, 10, 20) at 0.95, 0.8."""
    records = make_records([[box(0, 0, 0, 50, 100), box(1, 90, 150, 10, 20)]], size=(100, 200))
    numbers = diagnose_place({"train": records})
    rows = {row["name"]: row for row in numbers["rows"]}
    assert rows["a"]["heat_map"][4][4] == 1 and rows["b"]["heat_map"][12][15] == 1
    assert np.sum(numbers["heat_map"]) == 2
    assert rows["a"]["touches_border"] == 1 and rows["b"]["border_distance"] == 0
    inner = diagnose_place({"train": make_records([[box(0, 30, 40, 10, 10)]])})
    assert inner["rows"][0]["border_distance"] == pytest.approx(0.3) and inner["touches_border"] == 0


def test_only_classes_with_enough_boxes_count_for_the_rule():
    """Two boxes say nothing of a place; 60 in one point have dimension 1."""
    assert diagnose_place({"train": make_records([[box(0), box(1)]])})["known_fractal_dimension"] is None
    numbers = diagnose_place({"train": make_records([[box(0)] * 60 + [box(1, 3, 4), box(1, 50, 60)]])})
    assert numbers["known_fractal_dimension"] == 1


def test_no_box_is_said():
    with pytest.raises(Missing):
        diagnose_place({"train": make_records([[]])})
