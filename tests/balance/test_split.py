"""Iterative stratification against its package where it is there, by properties, and what stays together."""

import numpy as np
import pytest

import imbdet
from imbdet.balance.split import at_least, iterative_stratification, units_of
from tests.diagnose.helpers import box, make_records


@pytest.mark.slow  # few have the package, and no extra of ours brings it
def test_equal_to_the_package():
    package = pytest.importorskip("iterstrat.ml_stratifiers")
    for seed in range(3):
        labels = np.random.default_rng(seed).random((60, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]
        shares, state = np.array([0.5, 0.3, 0.2]), np.random.RandomState(seed)
        mine = iterative_stratification(labels.astype(int), shares, lambda n, state=state: int(state.choice(n)))
        theirs = package.IterativeStratification(labels.copy(), shares.copy(), np.random.RandomState(seed))
        assert (mine == theirs).all()


def test_by_hand():
    """Class 1 is rarest: its two units go to different parts; then class 0 fills both."""
    labels = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [0, 0], [0, 0]])
    part = iterative_stratification(labels, [0.5, 0.5], lambda n: 0)
    assert part.tolist() == [0, 1, 0, 1, 0, 1]


def test_of_equally_wanting_parts_the_one_that_wants_most_images_is_next():
    """Of equally rare classes 0 is first: its picture goes to part 0. Both parts want as much of class 1, but part 1
    wants more pictures now."""
    part = iterative_stratification(np.array([[0, 1], [1, 0]]), [0.5, 0.5], lambda n: 0)
    assert part.tolist() == [1, 0]


def test_shares_of_every_class_are_kept():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 6)) < [0.6, 0.3, 0.2, 0.1, 0.05, 0.03]).astype(int)
    shares = np.array([0.7, 0.2, 0.1])
    part = iterative_stratification(labels, shares, lambda n: int(rng.integers(n)))
    have = np.stack([labels[part == p].sum(axis=0) for p in range(3)])
    assert (np.abs(have - np.outer(shares, labels.sum(axis=0))) <= 2.5).all()
    assert np.abs(np.bincount(part) - 400 * shares).max() <= 4


def test_units():
    groups = np.array(["x", "y", "x", "z", "w"], object)
    unit = units_of(5, groups, np.array([[1, 3]]))
    assert len(set(unit)) == 3 and unit[0] == unit[2] and unit[1] == unit[3]
    assert len(set(units_of(4, None, None))) == 4


def test_at_least_moves_units_and_refuses():
    labels = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [1, 1], [1, 1]])
    sizes, part = np.ones(6, int), np.array([0, 1, 1, 0, 0, 0])
    moved = at_least(part, labels, sizes, [0.5, 0.5], 1, ["a", "b"], ["train", "val"])
    assert [labels[moved == p].sum(axis=0).min() >= 1 for p in (0, 1)] == [True, True]
    with pytest.raises(ValueError, match="'b' is in 3 pictures, and 2 parts need 4"):
        at_least(part, labels, sizes, [0.5, 0.5], 2, ["a", "b"], ["train", "val"])
    together = np.array([[3, 3], [3, 0]])
    with pytest.raises(ValueError, match="val cannot have 1 pictures of 'b'"):
        at_least(np.array([0, 1]), together, np.array([3, 3]), [0.5, 0.5], 1, ["a", "b"], ["train", "val"])


def test_split_and_folds_of_records():
    rng = np.random.default_rng(0)
    images = [[box(0)] * 2 + [box(int(k))] for k in rng.integers(0, 3, 30)]
    records = make_records(images)
    parts, provenance = imbdet.balance(records, split={"train": 0.6, "val": 0.4}, at_least=2, group=r"^(\d)")
    assert sum(map(len, parts.values())) == 30
    first = [{records.images.name(i)[0] for i in p} for p in provenance.balanced.work.parts.values()]
    assert not first[0] & first[1]
    assert all(part.image_counts().min() >= 2 for part in parts.values())
    folds, _ = imbdet.balance(records, folds=3, near_duplicates=False)
    assert list(folds) == [f"fold{i}/{part}" for i in (1, 2, 3) for part in ("train", "val")]
    held_out = np.concatenate([folds[f"fold{i}/val"].image_ids for i in (1, 2, 3)])
    assert sorted(held_out) == records.image_ids.tolist()
    assert not set(folds["fold1/train"].image_ids) & set(folds["fold1/val"].image_ids)


def test_near_duplicates_stay_together():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 255, (4, 4, 3), np.uint8).repeat(25, 0).repeat(25, 1) for _ in range(5)]
    arrays += [array.copy() for array in arrays]
    records = make_records([[box(0)] for _ in arrays], arrays=arrays)
    _, provenance = imbdet.balance(records, split={"train": 0.6, "val": 0.4})
    for part in provenance.balanced.work.parts.values():
        assert sorted(part % 5) == sorted([*set(part % 5)] * 2)
    assert "5 pairs of near-duplicate pictures are kept together" in provenance.notes
