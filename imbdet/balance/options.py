"""What `balance` can be asked for, and how the text of a command line is read: one table for the command and Python."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from .pool import known

FORMATS = ("same", "coco", "yolo", "voc")
PICTURES = ("link", "copy", "in-place")
REMOVED = ("drop", "crowd", "picture")

#: (low, high); None is no limit
Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Options:
    """The settings of one call; each stands for itself, and its order of use is that of `build.balanced`.

    Classes (all splits): rename {old: new}; merge {new: [old, ...]}; keep_class, drop_class: names.
    Boxes: size: range of the side, sqrt(width * height), pixels. aspect: range of width / height. outliers: boxes whose
        area or aspect is more than so many interquartile ranges outside their class's quartiles. border: boxes nearer
        to the picture's border than so many pixels. removed: what becomes of a box that these leave out: "drop" it,
        mark it "crowd" (not trained on, not counted), or leave out its "picture".
    Pictures: sharpness: range of the variance of the Laplacian of the gray levels (blurred pictures have little).
        exposure: range of the mean gray level, 0..255. empty: False leaves out pictures without boxes. group: a regular
        expression on file names, whose first bracket (or whole match) is the group, or "field:NAME" of a COCO image.
        keep_group, drop_group: names of groups.
    Fewer or more pictures: cap: {class or "*": most boxes}. over_sample, under_sample: imbalanced-learn's
        sampling_strategy. repeat_factor: its threshold, 0 takes the median class's. target: "equal", "sqrt",
        "power:P", "ratio:R" or {class: share}. copies: the most often that a picture comes, default 4
        for a target, 10 for the others. keep_images: least share of the pictures that must be left, 0..1. keep_all:
        every picture at least once.
    Experiments: make_imbalanced: ratio of the most to the least frequent class. order: class names, most frequent
        first, for it. size_skew: boxes larger than the median side for each smaller one. label_noise: share of the
        boxes that get another class.
    Split: split: {part: share}. folds: K. at_least: pictures of every class in every part. near_duplicates: keep
        pictures that look the same together (reads all pictures). pool: splits that are split anew, default all.
    on: parts that filters, fewer or more pictures and experiments act on; default the training split, and with `split`
        or `folds` every part for filters and the first for the rest.
    seed: of every draw.
    """

    rename: dict[str, str] | None = None
    merge: dict[str, Sequence[str]] | None = None
    keep_class: Sequence[str] = ()
    drop_class: Sequence[str] = ()
    size: Range | None = None
    aspect: Range | None = None
    outliers: float | None = None
    border: float | None = None
    removed: str = "drop"
    sharpness: Range | None = None
    exposure: Range | None = None
    empty: bool = True
    group: str = ""
    keep_group: Sequence[str] = ()
    drop_group: Sequence[str] = ()
    cap: dict[str, int] | None = None
    over_sample: Any = None
    under_sample: Any = None
    repeat_factor: float | None = None
    target: str | dict[str, float] | None = None
    copies: int | None = None
    keep_images: float = 0.5
    keep_all: bool = False
    make_imbalanced: float | None = None
    order: Sequence[str] = ()
    size_skew: float | None = None
    label_noise: float | None = None
    split: dict[str, float] | None = None
    folds: int | None = None
    at_least: int = 0
    near_duplicates: bool = True
    pool: Sequence[str] = ()
    on: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self):
        whole = ("copies", "folds", "at_least", "seed")
        for name in whole:
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        limits = {
            "copies": (1, math.inf),
            "folds": (2, math.inf),
            "at_least": (0, math.inf),
            "seed": (0, 2**32 - 1),
            "keep_images": (0, 1),
            "label_noise": (0, 1),
            "repeat_factor": (0, 1),
            "outliers": (0, math.inf),
            "border": (0, math.inf),
            "make_imbalanced": (1, 1e6),
            "size_skew": (1e-6, 1e6),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                wanted = f"at least {low}" if high == math.inf else f"in {low}..{high:g}"
                raise ValueError(f"{name} must be {wanted}, got {value!r}")
        known(self.removed, REMOVED, "way to remove boxes")
        if self.split and self.folds:
            raise ValueError("split and folds both make the parts: give one of them")
        resampling = ("over_sample", "under_sample", "repeat_factor", "target", "make_imbalanced", "size_skew")
        given = [name for name in resampling if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} both choose how often each picture comes: give one of them")
        if (self.keep_group or self.drop_group) and not self.group:
            raise ValueError("keep_group and drop_group need group: a regular expression on file names, or field:NAME")
        if self.order and self.make_imbalanced is None:
            raise ValueError("order is that of make_imbalanced: give both")
        if self.group and not self.group.startswith("field:"):
            try:
                re.compile(self.group)
            except re.error as error:
                raise ValueError(f"group {self.group!r} is not a regular expression: {error}") from None
        if self.split:
            check_shares(self.split)

    @classmethod
    def of(cls, **options: Any) -> Options:
        """Raise ValueError for an option that there is not, with the nearest one."""
        names = [field.name for field in fields(cls)]
        for name in options:
            known(name, names, "option")
        return cls(**options)

    def given(self) -> dict[str, Any]:
        """Return the options that are not at their defaults."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}


def check_shares(shares: dict[str, float]) -> None:
    """Raise ValueError unless the parts' shares are positive and sum up to 1."""
    if any(not value > 0 for value in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        listed = ", ".join(f"{name}={value:g}" for name, value in shares.items())
        raise ValueError(f"the shares of the parts must be above 0 and sum up to 1, got {listed}")


# ---- text of the command line -------------------------------------------------------------------------------------


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def read_range(text: str) -> Range:
    """Return "16:256", "16:" or ":256"."""
    low, colon, high = text.partition(":")
    if not colon or not (low or high):
        raise ValueError(f"{text!r} is not a range; expected LOW:HIGH, LOW: or :HIGH")
    found = (number(low) if low else None, number(high) if high else None)
    if None not in found and found[0] > found[1]:
        raise ValueError(f"{text!r}: the lower limit is above the upper one")
    return found


def read_pairs(text: str) -> dict[str, float]:
    """Map "a=1,b=2" -> {"a": 1.0, "b": 2.0}."""
    pairs = {}
    for word in filter(None, text.split(",")):
        name, equals, value = word.rpartition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is no NAME=NUMBER")
        pairs[name.strip()] = number(value)
    return pairs


def read_cap(text: str) -> dict[str, int]:
    """Map "100" -> {"*": 100}; "a=100,b=20"."""
    pairs = read_pairs(text) if "=" in text else {"*": number(text)}
    for name, value in pairs.items():
        if value != int(value) or value < 0:
            raise ValueError(f"cap of {name!r} is a whole number of boxes, got {value:g}")
    return {name: int(value) for name, value in pairs.items()}


def read_strategy(text: str) -> str | float | dict[str, int]:
    """Return imbalanced-learn's sampling_strategy: a word, a number, or CLASS=IMAGES,..."""
    if "=" in text:
        return {name: int(value) for name, value in read_pairs(text).items()}
    try:
        return float(text)
    except ValueError:
        return text


def read_target(text: str) -> str | dict[str, float]:
    """Return "equal", "sqrt", "power:0.5", "ratio:10", or CLASS=SHARE,..."""
    return read_pairs(text) if "=" in text else text


def read_split(text: str) -> dict[str, float]:
    """Return "0.8,0.1,0.1" (train, val, test), "0.8,0.2" (train, val), or "train=0.8,val=0.2"."""
    if "=" in text:
        shares = read_pairs(text)
    else:
        values = [number(word) for word in text.split(",")]
        if not 2 <= len(values) <= 3:
            raise ValueError(f"{text!r}: two shares (train, val) or three (train, val, test), or NAME=SHARE,...")
        shares = dict(zip(("train", "val", "test"), values, strict=False))
    check_shares(shares)
    wrong = [name for name in shares if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} cannot be the name of a part: letters, digits, _ . - are")
    return shares


def names_of(words: Sequence[str]) -> list[str]:
    """Map ["a,b", "c"] -> ["a", "b", "c"]."""
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


def read_equations(words: Sequence[str], many: bool) -> dict:
    """Map rename: ["old=new"] -> {old: new}; merge (many): ["a,b=new"] -> {new: [a, b]}."""
    found: dict = {}
    for word in words:
        left, equals, right = word.rpartition("=")
        if not equals or not left or not right:
            raise ValueError(f"{word!r}: expected {'OLD,OLD=NEW' if many else 'OLD=NEW'}")
        if many:
            found.setdefault(right.strip(), []).extend(names_of([left]))
        else:
            found[left.strip()] = right.strip()
    return found


def as_words(options: Options) -> str:
    """Return the options as one line of JSON, for provenance."""
    return json.dumps(options.given(), sort_keys=True, default=str)
