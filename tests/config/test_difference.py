"""Differences between configs, as paths and as lines."""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.config import changed_paths, diff
from imbdet.config.difference import judged

from .toys import CrossEntropy, Focal


def test_paths_and_lines():
    before = OmegaConf.create(
        {"m": {"c": L(CrossEntropy)(), "w": None}, "t": {"n": 1, "s": [1, 2], "d": "${t.n}"}, "f": L(Focal)(gamma=1.0)}
    )
    after = OmegaConf.create(
        {
            "m": {"c": L(Focal)(gamma=2.0), "w": L(Focal)()},
            "t": {"n": 1, "s": [1, 3], "e": "no"},
            "f": L(Focal)(gamma=2.0),
        }
    )
    assert changed_paths(before, after) == ["m.c", "m.w", "t.s", "t.d", "t.e", "f.gamma"]
    assert diff(before, after) == [
        "m.c: CrossEntropy() -> Focal(gamma=2.0)",
        "m.w: null -> Focal()",
        "t.s: [1, 2] -> [1, 3]",
        "t.d: ${t.n} removed",
        "t.e: added 'no'",
        "f.gamma: 1.0 -> 2.0",
    ]
    assert diff(before, before) == []


def test_roi_heads_of_another_kind_count_key_by_key():
    """Toy targets: RoI heads with a loss, other RoI heads with the same loss, and others with another."""
    before = OmegaConf.create({"h": {"_target_": "one", "c": L(Focal)(gamma=1.0), "x": 1}})
    around = OmegaConf.create({"h": {"_target_": "many", "c": L(Focal)(gamma=1.0), "x": 1, "n": 3}})
    other = OmegaConf.create({"h": {"_target_": "many", "c": L(CrossEntropy)(), "x": 1, "n": 3}})
    assert changed_paths(before, around) == ["h._target_", "h.n"]
    assert changed_paths(before, other) == ["h"]


def test_equal_values_of_different_kinds_differ():
    assert diff(OmegaConf.create({"a": 1}), OmegaConf.create({"a": True})) == ["a: 1 -> true"]
    assert diff(OmegaConf.create({"a": None}), OmegaConf.create({})) == ["a: null removed"]


def test_long_calls_are_compared_key_by_key():
    long = {f"key_{i}": i for i in range(40)}
    before = OmegaConf.create({"m": {"_target_": "a.A", **long}})
    after = OmegaConf.create({"m": {"_target_": "a.B", **long, "key_3": 7, "new": 1}})
    assert changed_paths(before, after) == ["m"]
    assert diff(before, after) == ["m._target_: a.A -> a.B", "m.key_3: 3 -> 7", "m.new: added 1"]


def test_another_whole_of_the_same_parts_is_compared_key_by_key():
    """So that a remedy of a part, here `c`, does not collide with one that puts the parts together differently."""
    before = OmegaConf.create({"m": {"_target_": "a.A", "c": L(Focal)(gamma=1.0), "d": L(Focal)(gamma=1.0), "n": 1}})
    after = OmegaConf.create({"m": {"_target_": "a.B", "c": L(Focal)(gamma=1.0), "e": L(CrossEntropy)(), "n": 1}})
    assert changed_paths(before, after) == ["m._target_", "m.d", "m.e"]
    after.m.c.gamma = 2.0  # nothing is kept
    assert changed_paths(before, after) == ["m"]


def test_a_key_that_came_later_is_no_change_while_it_does_nothing():
    older, now = {"train": {"max_iter": 5}}, {"train": {"max_iter": 5, "time": ""}}
    assert judged(older, now, "revisit") == judged(now, older, "resume") == ([], [])
    assert judged(older, {"train": {"max_iter": 5, "time": "30m"}}, "revisit")[0]
    assert judged(now, {"train": {"max_iter": 5, "time": "30m"}}, "revisit")[0]
