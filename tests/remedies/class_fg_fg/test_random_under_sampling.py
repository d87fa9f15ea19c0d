"""Random under-sampling: sizes by hand, imbalanced-learn's own draw, empty images, the warning."""

import sys
from collections import Counter

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.remedies.class_fg_fg._resampling import rarest_class
from imbdet.remedies.class_fg_fg.random_under_sampling import RandomUnderSampling


@pytest.fixture(autouse=True)
def imblearn():
    """Imbalanced-learn's own module; imported late, as it takes seconds."""
    return pytest.importorskip("imblearn.under_sampling", reason="the extra `sampling` is not installed")


def indices(before, after):
    """Which images of `before` the records `after` hold."""
    return (after.image_ids - before.image_ids[0]).tolist()


def test_neutral_keeps_every_image_once_in_order(made):
    for images, strategy in (([[0], [1], [2]] * 4 + [[]], "auto"), (made.random_images(), {})):
        records = made.records(images, 4)
        assert indices(records, RandomUnderSampling(strategy)(records)) == list(range(len(images)))


def test_by_hand(made):
    """Images by rarest class: circle 50, star 20, ring 3, none 4. Each label keeps 3, the empty images stay."""
    images = [[0]] * 50 + [[0, 1]] * 20 + [[1, 2]] * 3 + [[]] * 4
    records = made.records(images)
    chosen = indices(records, RandomUnderSampling()(records))
    assert sorted(set(chosen)) == chosen and len(chosen) == 13
    assert Counter(max(images[i], default=-1) for i in chosen) == {0: 3, 1: 3, 2: 3, -1: 4}
    assert chosen[-7:] == [70, 71, 72, 73, 74, 75, 76]


def test_the_draw_is_imbalanced_learns(imblearn, made):
    records = made.records(made.random_images(), 4)
    labels = rarest_class(records)
    rows = np.flatnonzero(labels >= 0)
    theirs = imblearn.RandomUnderSampler(random_state=7)
    theirs.fit_resample(rows[:, None], labels[rows])
    want = sorted([*rows[theirs.sample_indices_].tolist(), *np.flatnonzero(labels < 0).tolist()])
    assert indices(records, RandomUnderSampling(random_state=7)(records)) == want
    assert indices(records, RandomUnderSampling(random_state=8)(records)) != want


def test_strategies(made):
    images = [[0]] * 50 + [[0, 1]] * 20 + [[1, 2]] * 3
    records = made.records(images)
    kept = [len(RandomUnderSampling(s)(records)) for s in ("majority", {"star": 9}, {"circle": 10, "star": 5})]
    assert kept == [3 + 20 + 3, 50 + 9 + 3, 10 + 5 + 3]
    with pytest.raises(ValueError, match="refuses.*Originally, there is 3 samples and 4 samples are asked"):
        RandomUnderSampling({"ring": 4})(records)


def test_mechanism_the_ratio_of_boxes_falls(made):
    images = [[0]] * 60 + [[1]] * 20 + [[2]] * 6
    records = made.records(images)
    balanced = RandomUnderSampling()(records)
    assert balanced.class_counts().tolist() == made.count_boxes(images, indices(records, balanced), 3) == [6, 6, 6]
    text = RandomUnderSampling().report(records, balanced)
    assert "86 -> 18 images, none more than 1 times" in text and "most to least frequent class 10 -> 1" in text
    assert "circle: 60 -> 28.7" in text  # in 86 drawn images


def test_it_warns_when_the_classes_become_less_equal(made):
    """star is cut to one image, below the ring: 30 to 2 becomes 30 to 1."""
    images = [[1]] * 20 + [[0]] * 20 + [[2] + [0] * 5, [2] + [0] * 5]
    with pytest.warns(UserWarning, match="RandomUnderSampling makes the classes less equal"):
        RandomUnderSampling({"star": 1})(made.records(images))


@pytest.mark.parametrize("images", [[[]] * 3, [[0]] * 3])
def test_less_than_two_labels(made, images):
    records = made.records(images)
    with pytest.warns(UserWarning, match="less than two classes"):
        assert RandomUnderSampling()(records) is records


def test_an_import_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn.under_sampling", None)
    with pytest.raises(ImportError, match=r"imbdet\[sampling\]"):
        RandomUnderSampling()


def test_config_and_loader():
    words = ["data.train.num_images=60", "dataloader.train.num_workers=0"]
    loader = instantiate(load_config("baselines/faster_rcnn_shapes", ["random_under_sampling"], words).dataloader.train)
    assert len(loader.records) < 60 and f"60 -> {len(loader.records)} images" in loader.describe()
    with pytest.raises(ValueError, match="random_state must be a whole number, got None"):
        RandomUnderSampling(random_state=None)
