"""Names are matched as they are, then in one Unicode form and without spaces around; nothing is guessed."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from imbdet.config import instantiate
from imbdet.data.class_names import TrainedOn, match_names
from imbdet.data.datasets.shapes import shapes
from imbdet.data.statistics import class_counts, class_names, frequency_groups, num_classes


def test_equal_names_match_whatever_their_order():
    assert match_names(["a", "b", "c"], ["c", "a", "x"]) == [1, -1, 0]
    assert match_names([], ["a"]) == [] and match_names(["a"], []) == [-1]


def test_another_form_matches_only_what_is_left():
    composed, apart = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    assert composed != apart and match_names([composed], [apart]) == [0]
    assert match_names([composed, apart], [apart, composed]) == [1, 0]  # both are there: as they are
    assert match_names([" a", "b"], ["b\t", "a"]) == [1, 0]
    assert match_names(["a "], ["A"]) == [-1]
    assert match_names(["a "], [" a", "a  "]) == [-1]  # two could be meant
    assert match_names(["a ", " a"], ["a\t"]) == [-1, -1]


def test_what_is_carried_answers_as_the_records_do():
    records = shapes("train", num_images=40)
    carried = TrainedOn.read(TrainedOn.of(records).to_dict(), "a test")
    for ask in (num_classes, class_names, class_counts, frequency_groups, len):
        assert ask(carried) == ask(records)
    assert np.array_equal(carried.image_counts(), records.image_counts())
    assert carried.fingerprint() == records.fingerprint()


def test_no_class_name_is_taken_for_something_else():
    """In a config, ${...} would be an interpolation, ??? a missing value, and a mapping a call."""
    records = shapes("train", num_images=2)
    strange = ["${oc.env:HOME}", "???", "\\${x}", 'a"b', "null", "\u00e4"]
    names = (*strange, *records.class_names[len(strange) :])
    carried = TrainedOn.of(replace(records, class_names=names))
    assert instantiate(OmegaConf.create({"train": carried.node()}).train) == carried
    with pytest.raises(ValueError, match="{'_target_': 'os.getcwd'} is a dict, not of type str"):
        TrainedOn.read({**carried.to_dict(), "class_names": [{"_target_": "os.getcwd"}] * len(names)}, "x.pth")


@pytest.mark.parametrize("values", [{}, {"class_names": 3}, {"boxes": [1]}, {"num_images": 1.5}])
def test_values_that_are_not_of_this_kind_are_refused(values):
    good = TrainedOn.of(shapes("train", num_images=2)).to_dict()
    wrong = {**good, **values} if values else {}
    with pytest.raises(ValueError, match="x.pth: what it says of its training data cannot be read"):
        TrainedOn.read(wrong, "x.pth")


def test_counts_beyond_64_bits_are_refused():
    known = {"name": "train", "source": "x", "class_names": ["a"], "category_ids": [1], "boxes": [2**63], "images": [1]}
    with pytest.raises(ValueError, match="beyond 64 bits"):
        TrainedOn.read({**known, "num_images": 1, "data_fingerprint": ""}, "a run")
