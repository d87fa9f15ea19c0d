"""Where the parts of a YOLO folder lie: Ultralytics' data.yaml, Darknet's obj.data (CVAT's YOLO 1.1), or folders alone.

Notable: such folders are moved, and their paths were written elsewhere. A path that is not there is looked for by its
last parts under the folder, the longest first, for folders, lists and the lines of lists alike. Names are text as it is
typed, in YAML too: `yes`, `054`, `1e3` and `null` are names of classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from imbdet.config import yaml12
from imbdet.data.datasets.classes import listed
from imbdet.data.datasets.layout import split_names
from imbdet.data.datasets.text import read_lines, read_text
from imbdet.data.images import PICTURE_SUFFIXES

YAML = ("data.yaml", "data.yml", "dataset.yaml")
_NAME_LISTS = ("classes.txt", "labels/classes.txt", "obj.names")
_MISSING = (None, "", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class Description:
    """What a file says of the whole folder.

    file: its path, or "" where there is none. content: its keys, with all scalars as text. darknet: it is obj.data.
    """

    file: str
    content: dict
    darknet: bool = False


def describe(root: str) -> Description:
    """Return data.yaml, another single YAML file with `names`, or Darknet's *.data.

    Raises:
        ValueError: it cannot be read, or there are several.
    """
    found = [path for path in (os.path.join(root, name) for name in YAML) if os.path.isfile(path)]
    if found:
        return Description(found[0], _read_yaml(found[0]))
    entries = sorted(os.listdir(root))
    others = [os.path.join(root, name) for name in entries if name.lower().endswith((".yaml", ".yml"))]
    others = [path for path in others if os.path.isfile(path) and "names:" in read_text(path)]
    if len(others) > 1:
        names = ", ".join(map(os.path.basename, others))
        raise ValueError(f"{root}: several files with `names`: {names}; call the right one data.yaml")
    if others:
        return Description(others[0], _read_yaml(others[0]))
    for folder in (root, os.path.join(root, "data")):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for path in (os.path.join(folder, name) for name in names if name.endswith(".data")):
            if os.path.isfile(path):
                return Description(path, _read_darknet(path), darknet=True)
    return Description("", {})


def class_names(root: str, description: Description) -> dict[int, str]:
    """Return {number in the label files: name}, by number.

    Raises:
        FileNotFoundError: no file has the names.
        ValueError: `names` or `nc` are not what they should be, or two classes have one name.
    """
    names = description.content.get("names")
    source = description.file
    if description.darknet and isinstance(names, str):
        path = _Finder(root).find(names, os.path.isfile)
        if path is None:
            raise FileNotFoundError(f"{source}: names = {names}: no such file, nor by its last parts in {root}")
        source, names = path, _name_lines(path)
    elif names in _MISSING:
        paths = (os.path.join(root, name) for name in _NAME_LISTS)
        path = next(filter(os.path.isfile, paths), None)
        if path is None:
            if source:
                raise ValueError(f"{source}: lacks `names`: a list of class names, or a mapping from 0.. to them")
            raise FileNotFoundError(
                f"{root}: the names of the classes are in none of {', '.join(YAML)}, obj.data, {', '.join(_NAME_LISTS)}"
            )
        source, names = path, _name_lines(path)
    numbered = _numbered(names, source)
    _check_names(numbered, source)
    count = description.content.get("classes" if description.darknet else "nc")
    if count not in _MISSING:
        _check_count(count, numbered, description.file)
    return numbered


def key_points(description: Description) -> tuple[int, int] | None:
    """Return `kpt_shape` of data.yaml: (number, values of each); None where it says nothing.

    Raises:
        ValueError: it is no such pair.
    """
    shape = description.content.get("kpt_shape")
    if description.darknet or shape in _MISSING:
        return None
    numbers = [int(v) if isinstance(v, str) and v.isdecimal() and len(v) < 6 else -1 for v in shape]
    if not isinstance(shape, list) or len(numbers) != 2 or (numbers != [0, 0] and not _is_shape(*numbers)):
        raise ValueError(
            f"{description.file}: kpt_shape: {_short(shape)}; expected [number of key points, 2 or 3], e.g. [17, 3]"
        )
    return numbers[0], numbers[1]


def find_split(root: str, split: str, description: Description) -> tuple[str, list[str], list[str]]:
    """Return (what the split was read from, its pictures, lines of lists whose pictures are not there).

    Raises:
        FileNotFoundError: there is no such split; everything that was looked at is listed.
        ValueError: the entry of the description is of a wrong kind, or one of several is not there.
    """
    finder = _Finder(root, description.content.get("path"))
    looked_at, given = [], False
    for name in split_names(split):
        entries = _entries(description, name)
        found = [_pictures(entry, finder, looked_at) for entry in entries]
        given |= bool(entries)
        missing = [entry for entry, (there, _) in zip(entries, found, strict=True) if not there]
        if missing and len(missing) < len(entries):
            raise ValueError(f"{description.file}: {name}: no pictures in {listed(missing)}, looked for in {root}")
        if any(pictures or lost for pictures, lost in found):
            pictures = dict.fromkeys(path for group, _ in found for path in group)
            return f"{description.file} ({name})", list(pictures), [line for _, lost in found for line in lost]
    places = [
        place for name in split_names(split) for place in (f"images/{name}", f"{name}/images", name, f"{name}.txt")
    ]
    for place in [] if given else places:  # what the file says is not replaced by another folder
        pictures, lost = _pictures(place, _Finder(root, moved=False), looked_at)
        if pictures or lost:
            return os.path.join(root, place), pictures, lost
    raise FileNotFoundError(
        f"{root}: no pictures of YOLO split {split!r}. Looked in: {', '.join(dict.fromkeys(looked_at))}"
    )


class _Finder:
    """Finds a path that may have been written elsewhere: as it is, then by its last parts, the longest first.

    A last part `images` alone is not looked for: of `../train/images` that would be the pictures of all splits.
    """

    def __init__(self, root: str, base=None, beside: str | None = None, moved: bool = True):
        bases = [beside] if beside else []
        bases += [os.path.join(root, base.replace("\\", "/"))] if isinstance(base, str) and base not in _MISSING else []
        self.bases = [*dict.fromkeys([*bases, root])]
        self.moved = moved
        self._last: tuple[str, int] | None = None  # what the path before was found by: lines of a list are alike

    def candidates(self, path: str) -> list[tuple[str, tuple[str, int]]]:
        """Return (place, how) in the order in which they are tried."""
        path = path.replace("\\", "/") if os.sep == "/" else path
        parts = [part for part in path.split("/") if part not in ("", ".")]
        tries = [(base, -1) for base in self.bases]
        if self.moved:
            tries += [(b, drop) for drop in range(len(parts)) for b in self.bases if parts[drop:] != ["images"]]
        if self._last in tries:
            tries.insert(0, self._last)
        places = ((os.path.join(b, path) if k < 0 else os.path.join(b, *parts[k:]), (b, k)) for b, k in tries)
        return [(os.path.normpath(place), how) for place, how in places]

    def find(self, path: str, accept: Callable[[str], bool]) -> str | None:
        """Return the first place that is accepted; none for what cannot be a path."""
        for place, how in self.candidates(path):
            if _can_be_path(place) and accept(place):
                self._last = how
                return place
        return None


def _can_be_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _entries(description: Description, name: str) -> list[str]:
    value = description.content.get(name)
    entries = value if isinstance(value, list) else [] if value in _MISSING else [value]
    wrong = next((entry for entry in entries if not isinstance(entry, str) or entry in _MISSING), None)
    if wrong is not None:
        raise ValueError(
            f"{description.file}: {name}: {_short(value)}; expected a folder of pictures, a .txt list of them, or a "
            "list of such paths"
        )
    return entries


def _pictures(entry: str, finder: _Finder, looked_at: list[str]) -> tuple[list[str], list[str]]:
    """The pictures of a folder, of a .txt list, or a single one; and the lines of the list that have none."""
    looked_at += [place for place, how in finder.candidates(entry) if how[1] <= 0]
    place = finder.find(entry, lambda path: bool(_in_folder(path)) or (os.path.isfile(path) and path.endswith(".txt")))
    if place is None:
        return [], []
    if os.path.isdir(place):
        return _in_folder(place), []
    root = finder.bases[-1]
    lines = _Finder(root, finder.bases[0], beside=os.path.dirname(place))
    pictures, lost = {}, []
    for i, line in enumerate(read_lines(place), 1):
        path = lines.find(line, _is_picture) if line else None
        if path is not None and pictures.setdefault(path, line) != line:
            raise ValueError(
                f"{place}, line {i}: {line!r} and {pictures[path]!r} both are {path}; expected one line each"
            )
        if line and path is None:
            lost.append(f"{place}, line {i}: {line[:200]!r}: no such picture file, nor by its last parts in {root}")
    return list(pictures), lost


def _is_picture(path: str) -> bool:
    return path.lower().endswith(PICTURE_SUFFIXES) and os.path.isfile(path)


def _in_folder(place: str) -> list[str]:
    found = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
    return sorted(path for path in found if path.lower().endswith(PICTURE_SUFFIXES))


def label_file(picture: str) -> str:
    """Return Ultralytics' rule: the last folder called images becomes labels; else, or where that is not there, beside
    the picture.
    """
    before, found, after = picture.rpartition(f"{os.sep}images{os.sep}")
    in_labels = f"{before}{os.sep}labels{os.sep}{os.path.splitext(after)[0]}.txt"
    return in_labels if found and os.path.lexists(in_labels) else os.path.splitext(picture)[0] + ".txt"


def _read_yaml(path: str) -> dict:
    content = yaml12.read_as_text(read_text(path), path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping with names, train, val")
    return content


def _read_darknet(path: str) -> dict:
    pairs = (line.partition("=") for line in read_lines(path) if line and not line.startswith(("#", ";")))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _name_lines(path: str) -> list[str]:
    names = read_lines(path)
    while names and not names[-1]:
        names.pop()
    if "" in names:
        at, last = names.index(""), len(names) - 1
        raise ValueError(
            f"{path}: line {at + 1} is empty. {names[last]!r} is class {last} if the empty line counts, and "
            f"{sum(map(bool, names)) - 1} if it does not: remove the line, or write a name in it"
        )
    return names


def _numbered(names, source: str) -> dict[int, str]:
    right = "expected a list of class names, or a mapping from their numbers to them, e.g. {0: cat, 1: dog}"
    if isinstance(names, list):
        names = dict(enumerate(names))
    elif not isinstance(names, dict):
        raise ValueError(f"{source}: names: {_short(names)}; {right}")
    if not names:
        raise ValueError(f"{source}: lacks `names`: a list of class names, or a mapping from 0.. to them")
    numbered = {}
    for key, name in names.items():
        if not isinstance(name, str):
            raise ValueError(f"{source}: names: {key} is {_short(name)}; {right}")
        number = int(key) if str(key).isdecimal() and len(str(key)) < 10 else None
        if number is None or number in numbered:
            raise ValueError(f"{source}: names: the key {_short(key)} is not a number of its own in 0..; {right}")
        numbered[number] = name.strip()
    return dict(sorted(numbered.items()))


def _check_names(numbered: dict[int, str], source: str) -> None:
    first: dict[str, int] = {}
    for number, name in numbered.items():
        if not name:
            raise ValueError(f"{source}: names: class {number} has no name")
        if first.setdefault(name, number) != number:
            raise ValueError(
                f"{source}: names: {first[name]} and {number} are both called {name!r}. Classes are told apart by "
                "name: give each its own"
            )


def _check_count(count, numbered: dict[int, str], source: str) -> None:
    right = {len(numbered), max(numbered) + 1}  # with numbers from 1, both are in use
    if not isinstance(count, str) or not count.isdecimal() or len(count) > 9 or int(count) not in right:
        raise ValueError(
            f"{source}: it says {_short(count)} classes, and has {len(numbered)} names, of the numbers {min(numbered)} "
            f"to {max(numbered)}. Either names are missing, or there are too many: correct one of the two"
        )


def _is_shape(points: int, each: int) -> bool:
    return points > 0 and each in (2, 3)


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
