"""Targets that have moved are found by the name that older runs saved."""

import pytest

from imbdet.config import locate
from imbdet.config.moved import MOVED, RENAMED, present_name, with_present_names


@pytest.mark.parametrize(("old", "new"), list(RENAMED.items()))
def test_renamed_classes_are_found(old, new):
    assert present_name(old) == new and locate(present_name(old)).__name__ == new.rpartition(".")[2]
    assert with_present_names({"a": [{"_target_": old, "b": old}]}) == {"a": [{"_target_": new, "b": old}]}


def test_moved_modules_are_found():
    assert present_name("imbdet.modeling.matching.ThresholdMatcher") == "imbdet.modeling.defaults.ThresholdMatcher"
    assert all(locate(f"{module}.ThresholdMatcher") for module in MOVED.values())
