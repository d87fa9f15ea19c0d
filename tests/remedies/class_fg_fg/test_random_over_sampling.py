"""Random over-sampling: labels by the rarest class, sizes by hand, imbalanced-learn's own draw, limits, the warning."""

import sys
from collections import Counter

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.remedies.class_fg_fg._resampling import rarest_class
from imbdet.remedies.class_fg_fg.random_over_sampling import RandomOverSampling


@pytest.fixture(autouse=True)
def imblearn():
    """Imbalanced-learn's own module; imported late, as it takes seconds."""
    return pytest.importorskip("imblearn.over_sampling", reason="the extra `sampling` is not installed")


def indices(before, after):
    """Which images of `before` the records `after` hold."""
    return (after.image_ids - before.image_ids[0]).tolist()


def labels_of(images, chosen):
    return Counter(min(images[i], key=[3, 2, 1, 0].index) for i in chosen if images[i])


def test_the_label_is_the_class_in_fewest_images(made):
    """circle in 5 images, star in 3 with 4 boxes, ring in 3 with 3: ring is rarer. Crowd and empty images."""
    images = [[0, 2], [0, 1, 2], [0, 1, 1], [0, 1], [0], [2, 1], []]
    records = made.records(images, crowd=[(5, 1)])
    assert rarest_class(records).tolist() == [2, 2, 1, 1, 0, 2, -1]
    # images count, not boxes: ring with 8 boxes in 1 image is rarer than star with 3 in 3
    assert rarest_class(made.records([[1], [1], [0, 1, 2, 2, 2, 2, 2, 2, 2, 2], [0]])).tolist() == [1, 1, 2, 0]


def test_neutral_keeps_every_image_once_in_order(made):
    for images, strategy in (([[0], [1], [2]] * 4 + [[]], "auto"), (made.random_images(), {})):
        records = made.records(images, 4)
        assert indices(records, RandomOverSampling(strategy)(records)) == list(range(len(images)))


def test_by_hand(made):
    """Images by rarest class: circle 5, star 2, ring 1, none 1. All are drawn up to 5: 5 + 5 + 5 + 1 images."""
    images = [[0]] * 5 + [[0, 1], [1, 1], [0, 1, 2], []]
    records = made.records(images)
    chosen = indices(records, RandomOverSampling()(records))
    assert len(chosen) == 16 and sorted(chosen) == chosen and set(chosen) == set(range(9))
    assert labels_of(images, chosen) == {0: 5, 1: 5, 2: 5} and chosen.count(8) == 1 and chosen.count(7) == 5


def test_the_draw_is_imbalanced_learns(imblearn, made):
    records = made.records(made.random_images(), 4)
    labels = rarest_class(records)
    rows = np.flatnonzero(labels >= 0)
    theirs = imblearn.RandomOverSampler(random_state=7)
    theirs.fit_resample(rows[:, None], labels[rows])
    want = sorted([*rows[theirs.sample_indices_].tolist(), *np.flatnonzero(labels < 0).tolist()])
    assert indices(records, RandomOverSampling(random_state=7, max_repeats=None)(records)) == want
    assert indices(records, RandomOverSampling(random_state=8, max_repeats=None)(records)) != want


def test_class_names_stand_for_labels(made):
    images = [[0]] * 5 + [[1], [1, 1], [1, 2], []]
    records = made.records(images)
    chosen = indices(records, RandomOverSampling({"ring": 4})(records))
    assert labels_of(images, chosen) == {0: 5, 1: 2, 2: 4}


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"stat": 4}, "no class 'stat'; did you mean 'star'"),
        ({"bar": 4}, "'bar' is the rarest class of no image.*circle 5, star 2"),
        ({"star": 1}, r"imbalanced-learn refuses sampling_strategy=\{'star': 1\}.*Originally, there is 2.*star 2"),
        ("most", "imbalanced-learn refuses sampling_strategy='most'"),
    ],
)
def test_a_strategy_that_does_not_fit(made, strategy, message):
    records = made.records([[0]] * 5 + [[0, 1], [1, 1], [0, 1, 2], []], 4)
    with pytest.raises(ValueError, match=message):
        RandomOverSampling(strategy)(records)


def test_repeats_are_limited(made):
    records = made.records([[0]] * 100 + [[1]] * 2 + [[]])
    free, held = (RandomOverSampling(max_repeats=limit)(records) for limit in (None, 10))
    assert Counter(indices(records, free)).most_common(1)[0][1] > 30
    assert Counter(indices(records, held))[100] == Counter(indices(records, held))[101] == 10
    assert "none more than 10 times" in RandomOverSampling().report(records, held)


@pytest.mark.parametrize("images", [[[]] * 3, [[0]] * 3, [[0, 0], []]])
def test_less_than_two_labels(made, images):
    records = made.records(images)
    with pytest.warns(UserWarning, match="less than two classes to balance; all images are kept"):
        assert RandomOverSampling()(records) is records


def test_mechanism_boxes_after_are_those_of_the_chosen_images(made):
    """With one class an image all classes end with equally many boxes; `report` tells the same numbers."""
    images = [[0]] * 60 + [[1]] * 20 + [[2]] * 6
    records = made.records(images)
    over = RandomOverSampling(max_repeats=None)
    balanced = over(records)
    boxes = made.count_boxes(images, indices(records, balanced), 3)
    assert balanced.class_counts().tolist() == boxes == [60, 60, 60]
    text = over.report(records, balanced)
    assert "86 -> 180 images" in text and "most to least frequent class 10 -> 1" in text
    assert "rarest class before: circle 60, star 20, ring 6" in text and "after: circle 60, star 60, ring 60" in text


def test_it_warns_when_the_classes_become_less_equal(made):
    """Every image of the rarest label brings 30 circles along."""
    images = [[1, 2]] * 20 + [[0, 0]] * 20 + [[3] * 20 + [0] * 30]
    with pytest.warns(UserWarning, match="RandomOverSampling makes the classes less equal, not more.*co_occurrence"):
        RandomOverSampling()(made.records(images, 4))


def test_an_import_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn.over_sampling", None)
    with pytest.raises(ImportError, match=r"imbdet\[sampling\]"):
        RandomOverSampling()


@pytest.mark.parametrize("bad", [{"random_state": None}, {"random_state": 1.5}, {"max_repeats": 0}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RandomOverSampling(**bad)


def test_config_and_loader():
    words = ["data.train.num_images=60", "train.seed=3", "dataloader.train.num_workers=0"]
    loader = instantiate(load_config("baselines/retinanet_shapes", ["random_over_sampling"], words).dataloader.train)
    assert len(loader.records) > 60 and loader.epoch_length == -(-len(loader.records) // 8)
    assert (
        f"RandomOverSampling(sampling_strategy auto, max_repeats 10): 60 -> {len(loader.records)}" in loader.describe()
    )
    images, _ = next(loader.iterate())
    assert len(images) == 8
