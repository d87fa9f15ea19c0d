"""YAML 1.2 scalars, safe reading, quoting for readers of either version."""

import math
import time

import pytest
import yaml

from imbdet.config import yaml12

CASES = [
    ("1e-3", 0.001),
    ("1E5", 100000.0),
    ("-1.5", -1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("12", 12),
    ("+3", 3),
    ("010", 10),
    ("0o10", 8),
    ("0x1F", 31),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("no", "no"),
    ("off", "off"),
    ("yes", "yes"),
    ("12:30", "12:30"),
    ("2020-01-01", "2020-01-01"),
    ("1_000", "1_000"),
    ("0b1", "0b1"),
    ("1e", "1e"),
    ("=", "="),
]


@pytest.mark.parametrize(("text", "value"), CASES)
def test_scalars_on_the_command_line_and_in_files(text, value):
    assert yaml12.parse(text) == value and type(yaml12.parse(text)) is type(value)
    assert yaml12.read(f"key: {text}", "f") == {"key": value}


def test_lists_mappings_and_quotes():
    assert yaml12.parse("[1, 1e-3, no, [a, null]]") == [1, 0.001, "no", ["a", None]]
    assert yaml12.parse("{a: 1, b: {c: off}}") == {"a": 1, "b": {"c": "off"}}
    assert yaml12.parse("'12'") == "12" and yaml12.parse('"null"') == "null"
    assert yaml12.parse("") == ""
    assert yaml12.parse("a #b") == "a #b" and yaml12.parse("x: y") == "x: y"
    assert math.isnan(yaml12.parse(".nan"))
    with pytest.raises(ValueError, match="not a YAML list"):
        yaml12.parse("[1, 2")


def test_reading_builds_no_objects_and_refuses_duplicates():
    with pytest.raises(ValueError, match="run.yaml.*read safely"):
        yaml12.read("a: !!python/object/apply:os.getcwd []", "run.yaml")
    with pytest.raises(ValueError, match="'a' twice"):
        yaml12.read("a: 1\nb: 2\na: 3", "run.yaml")
    with pytest.raises(ValueError, match="line 2"):
        yaml12.read("a: 1\nb: [", "run.yaml")


def test_what_is_written_is_read_equal_by_us_and_by_a_yaml_1_1_reader():
    strings = [text for text, _ in CASES] + ["", " x ", "a: b", "#c", "ü", "two\nlines", "${data.root}", "1.0", "y"]
    numbers = [1e-3, 1e22, 1e-10, 5, -0.5, math.inf, True, None]
    value = {"strings": strings, "numbers": numbers, "nested": [{"a": []}, {}]}
    text = yaml12.write(value)
    assert yaml12.read(text, "f") == value
    assert yaml.safe_load(text) == value


def test_one_line():
    assert yaml12.write_line([1, "no", None]) == "[1, 'no', null]"
    assert yaml12.write_line(0.001) == "0.001"


@pytest.mark.parametrize(
    "text", ["a: !!int x", "a: !!int [1]", "a: !!bool {b: 1}", f"a: {'9' * 5000}", "[" * 9000, "a: \x00"]
)
def test_whatever_is_no_yaml_is_one_line(text):
    with pytest.raises(ValueError, match="^f is not YAML that can be read safely") as told:
        yaml12.read(text, "f")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("opened", ["[", "{a: "])
def test_deep_nesting_is_refused_at_once(opened):
    start = time.perf_counter()
    with pytest.raises(ValueError, match="here is not YAML that can be read safely: nested too deeply"):
        yaml12.read("x: " + opened * 100_000, "here")
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("read", [yaml12.read, yaml12.read_as_text])
def test_merge_keys_are_followed(read):
    """The key that a mapping has itself wins, then the first that is merged."""
    text = "a: &a {x: one, y: one}\nb: &b {<<: *a, y: two}\nc: {<<: [*b, *a], z: three}\nd: {<<: *b}\n"
    a, b = {"x": "one", "y": "one"}, {"x": "one", "y": "two"}
    assert read(text, "f.yaml") == {"a": a, "b": b, "c": {**b, "z": "three"}, "d": b}
    with pytest.raises(ValueError, match="f.yaml.* key 'y' twice"):
        read("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}\n", "f.yaml")
    for wrong in ("a: {<<: word}", "a: &a [x]\nb: {<<: *a}", "a: &a {x: 1}\nb: {<<: [" + "*a, " * 101 + "]}"):
        with pytest.raises(ValueError, match="f.yaml"):
            read(wrong, "f.yaml")
