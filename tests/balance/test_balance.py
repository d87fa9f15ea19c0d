"""Filters and resampling, from records to records."""

import numpy as np
import pytest

import imbdet
from imbdet.balance.filters import sharpness
from imbdet.balance.provenance import fresh_ids
from imbdet.remedies.class_fg_fg.random_over_sampling import RandomOverSampling
from imbdet.remedies.class_fg_fg.random_under_sampling import RandomUnderSampling
from tests.diagnose.helpers import box, make_records


def run(images, classes=("a", "b", "c"), **options):
    records = make_records(images, classes)
    before = records.fingerprint()
    after, provenance = imbdet.balance(records, **options)
    assert records.fingerprint() == before
    return after, provenance


IMAGES = [[box(0), box(1)], [box(0)], [box(2)], []]


def test_nothing_asked_changes_nothing():
    after, provenance = run(IMAGES)
    assert after.fingerprint() == make_records(IMAGES).fingerprint()
    assert provenance.before == provenance.after and provenance.options == {}
    assert "ratio" in provenance.table() and "<table>" in provenance._repr_html_()


def test_classes_are_renamed_merged_and_dropped():
    after, _ = run(IMAGES, rename={"a": "x"}, merge={"y": ["b", "c"]})
    assert after.class_names == ("x", "y") and after.class_counts().tolist() == [2, 2]
    assert after.category_ids.tolist() == [1, 2]
    after, _ = run(IMAGES, drop_class=["a"], empty=False)
    assert after.class_names == ("b", "c") and after.image_ids.tolist() == [10, 12]
    after, _ = run(IMAGES, keep_class=["c"])
    assert after.class_counts().tolist() == [1] and len(after) == 4


def test_boxes_are_filtered():
    """Side 20; one of 2 x 2; one of 40 x 4; one that touches the border."""
    images = [[box(0)], [box(0, w=2, h=2), box(0)], [box(0, w=40, h=4)], [box(0, x=0)]]
    sizes = {
        "size": ((5, None), [1, 1, 1, 1]),
        "aspect": ((0.2, 5), [1, 2, 0, 1]),
        "border": (1, [1, 2, 1, 0]),
    }
    for name, (value, left) in sizes.items():
        after, provenance = run(images, **{name: value})
        assert np.diff(after.offsets).tolist() == left, name
        assert f"1 by {name}" in provenance.notes[0]
    crowd, _ = run(images, size=(5, None), removed="crowd")
    assert crowd.crowd.sum() == 1 and crowd.num_objects == 5
    assert len(run(images, size=(5, None), removed="picture")[0]) == 3


def test_outliers_by_quartiles():
    """Sides 10 to 19: one of 80 is more than 2.5 ranges of log(area) above; classes below 8 boxes have no quartiles."""
    rows = [[box(0, x=1, y=1, w=10 + i, h=10 + i)] for i in range(10)]
    after, _ = run([*rows, [box(0, x=1, y=1, w=80, h=80)], [box(1, w=80, h=80)]], outliers=2.5)
    assert after.class_counts().tolist() == [10, 1, 0]


def test_pictures_are_filtered():
    flat, sharp = np.full((20, 20, 3), 200, np.uint8), np.zeros((20, 20, 3), np.uint8)
    sharp[::2] = 255
    records = make_records([[box(0, w=5, h=5)]] * 2, arrays=[flat, sharp], size=(20, 20))
    assert sharpness(flat.transpose(2, 0, 1)) == pytest.approx(0, abs=1e-9)
    assert sharpness(sharp.transpose(2, 0, 1)) == pytest.approx(
        510**2
    )  # +-2 * 255 by turns, half of the inner rows each
    assert imbdet.balance(records, sharpness=(1, None))[0].image_ids.tolist() == [11]
    assert imbdet.balance(records, exposure=(150, 250))[0].image_ids.tolist() == [10]
    after, _ = run(IMAGES, group=r"^(\d)", drop_group=["1", "3"])
    assert after.image_ids.tolist() == [10, 12]
    with pytest.raises(ValueError, match="no group '9'"):
        run(IMAGES, group=r"^(\d)", keep_group=["9"])
    with pytest.raises(ValueError, match="no file name matches"):
        run(IMAGES, group="zebra")


def test_cap():
    after, _ = run([[box(0)] * 2, [box(0)] * 2, [box(0), box(1)], [box(2)]], cap={"*": 3})
    assert after.class_counts().tolist() == [3, 1, 1]
    after, _ = run([[box(0)] * 2, [box(0)] * 2, [box(2)]], cap={"a": 1})
    assert after.class_counts().tolist() == [0, 0, 1]


def test_draws_are_those_of_imbalanced_learn():
    rng = np.random.default_rng(0)
    records = make_records([[box(int(k))] for k in (rng.random(40) ** 3 * 3).astype(int)])
    for option, remedy in (
        ("over_sample", RandomOverSampling("auto", 3)),
        ("under_sample", RandomUnderSampling("auto", 3)),
    ):
        after, provenance = imbdet.balance(records, **{option: "auto"}, seed=3)
        expected = remedy(records)
        names = [key for _, key in provenance.source_images["train"]]
        assert names == expected.image_ids.tolist() and len(set(after.image_ids)) == len(after)
        assert (after.xywh == expected.xywh).all() and (after.labels == expected.labels).all()


def test_repeat_factors_have_the_mean_of_the_formula():
    """b is in 1 of 10 pictures, t = 0.4: it comes sqrt(0.4 / 0.1) = 2 times, the others once."""
    after, _ = run([[box(0)]] * 9 + [[box(1)]], repeat_factor=0.4)
    assert after.class_counts().tolist() == [9, 2, 0]


def test_target_and_imbalance():
    images = [[box(0)]] * 20 + [[box(1)]] * 4 + [[box(2)]] * 4
    after, provenance = run(images, target="equal", copies=3, keep_all=False, keep_images=0.1)
    assert len(set(after.class_counts())) == 1 and provenance.after["train"]["ratio"] == 1
    after, provenance = run(images, target="ratio:2", copies=1, keep_images=0.1)
    assert provenance.after["train"]["ratio"] == pytest.approx(2, rel=0.05)
    with pytest.raises(ValueError, match=r"cannot be reached: .* is 5 .* below 5 .*Ask for 5 or more"):
        run(images, target="ratio:2", copies=1, keep_images=1.0)
    after, _ = run([[box(k)] for k in range(3) for _ in range(40)], make_imbalanced=4, order=["c", "b"])
    assert after.class_counts()[2] / after.class_counts()[0] == pytest.approx(4, rel=0.1)
    assert after.class_counts()[2] / after.class_counts()[1] == pytest.approx(2, rel=0.1)


def test_size_skew_and_label_noise():
    images = [[box(0, w=5 + 5 * (i % 2), h=5)] for i in range(40)]
    after, _ = run(images, size_skew=4)
    assert (after.xywh[:, 2] == 10).sum() / (after.xywh[:, 2] == 5).sum() == pytest.approx(4, rel=0.1)
    after, provenance = run([[box(0)]] * 40, label_noise=0.25)
    assert after.class_counts()[1:].sum() == 10 == provenance.balanced.work.noisy.sum()


def test_only_the_training_split_is_resampled():
    splits = {"train": make_records([[box(0)]] * 6 + [[box(1)]] * 2), "val": make_records(IMAGES, name="val")}
    after, _ = imbdet.balance(splits, target="equal", drop_class=["c"])
    assert after["val"].class_counts().tolist() == [2, 1] and len(after["val"]) == 4
    assert after["train"].class_counts().tolist()[0] == after["train"].class_counts().tolist()[1]
    after, _ = imbdet.balance(splits, cap={"a": 1}, on=["val"])
    assert after["val"].class_counts().tolist()[0] == 1 and after["train"].num_objects == 8


def test_ids():
    assert fresh_ids(np.array([3, 3, 0, 7, 3]), least=1).tolist() == [3, 8, 9, 7, 10]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"drop_class": ["aa"]}, "no class 'aa'; did you mean 'a'"),
        ({"drop_class": ["B"]}, "no class 'B'; did you mean 'b'"),
        ({"drop_class": ["a", "b", "c"]}, "no class would be left"),
        ({"rename": {"a": "b"}}, "already"),
        ({"targt": "equal"}, "no option 'targt'; did you mean 'target'"),
        ({"target": "equal", "over_sample": "auto"}, "give one of them"),
        ({"size": (1000, None)}, "no box is left"),
        ({"keep_class": ["c"], "target": "equal"}, "one class only"),
        ({"split": {"train": 0.8, "val": 0.1}}, "sum up to 1"),
        ({"split": {"train": 0.9, "val": 0.1}, "at_least": 9}, "in 2 pictures, and 2 parts need 18|in 1 pictures"),
        ({"folds": 9}, "cannot be split into 9 parts"),
        ({"on": ["tran"]}, "no split 'tran'; did you mean 'train'"),
        ({"group": "("}, "is not a regular expression"),
        ({"copies": 0}, "at least 1"),
        ({"seed": 1.5}, "whole number"),
        ({"cap": {"*": 0}, "empty": False}, "no picture is left"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        run(IMAGES, **options)
