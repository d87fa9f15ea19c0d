"""YAML as version 1.2 reads it: `1e-3` is a number, `no`, `off` and `12:30` are strings, dates are strings.

PyYAML follows version 1.1, where `no` is false and `1e-3` is a string: both are traps in a training config. Reading is
always the safe kind (no tag constructs an object) and a key written twice is refused. What we write is quoted wherever
either version would misread it, so that any reader gets the same values.
"""

import re
from typing import Any

import yaml

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_KINDS = (("null", _NULL), ("bool", _BOOL), ("int", _INT), ("float", _FLOAT))


def scalar(text: str) -> Any:
    """Return the value of an unquoted YAML 1.2 scalar: None, bool, int, float or str."""
    for kind, pattern in _KINDS:
        if pattern.fullmatch(text):
            return _VALUES[kind](text)
    return text


def parse(text: str) -> Any:
    """Return the value of one command-line word: `[...]`, `{...}` and quoted text are YAML, everything else is one
    scalar.

    So `a #b` and `x: y` stay the strings they look like. The empty word is the empty string.

    Raises:
        ValueError: brackets or quotes that do not close.
    """
    text = text.strip()
    if not text:
        return ""
    if text[0] not in "[{\"'":
        return scalar(text)
    return _load(text, Loader, f"{text[:200]!r} is not a YAML list, mapping or quoted string")


def read(text: str, source: str) -> Any:
    """Return the document `text`; `source` is named in errors.

    Raises:
        ValueError: not YAML, or a tag that would build an object, or a key given twice.
    """
    try:
        return _load(text, FastLoader, source)
    except _TooDeep:
        raise ValueError(f"{source} is not YAML that can be read safely: nested too deeply") from None
    except ValueError:  # for the words and the place of the other loader
        return _load(text, Loader, f"{source} is not YAML that can be read safely")


def read_as_text(text: str, source: str) -> Any:
    """Return the document `text` with every scalar as the text that is typed: `yes`, `054` and `null` stay text.

    Raises:
        ValueError: as of `read`.
    """
    return _load(text, TextLoader, f"{source} is not YAML that can be read safely")


class _TooDeep(ValueError):
    """What no loader reads."""


def _load(text: str, loader: type, failure: str) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except RecursionError:
        raise _TooDeep(f"{failure}: nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # the last three: `!!int x`, `!!int [1]`
        if "maximum nesting depth" in str(error):  # of libyaml; the other loader would take minutes to say so
            raise _TooDeep(f"{failure}: nested too deeply") from None
        raise ValueError(f"{failure}: {_brief(error)}") from error


def write(value: Any) -> str:
    """Return `value` (dicts, lists, scalars) as YAML, keys in their order."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=120)


def write_line(value: Any) -> str:
    """Return `value` in one line as it may be typed on the command line: `null`, `0.001`, `'no'`, `[1, 2]`."""
    text = yaml.dump(value, Dumper=Dumper, allow_unicode=True, width=10**6, default_flow_style=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _brief(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = " ".join(str(getattr(error, "problem", None) or error).split())
    return f"{text} (line {mark.line + 1}, column {mark.column + 1})" if mark else text


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _int(text: str) -> int:
    if len(text) > 40:
        raise ValueError(f"the number {text[:12]}... of {len(text)} digits is beyond 64 bits")
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_VALUES = {"null": lambda text: None, "bool": lambda text: text.lower() == "true", "int": _int, "float": _float}


_MERGE = "tag:yaml.org,2002:merge"
_MERGED = 100  #: the most mappings that one `<<` may name


class _Rules:
    """Of a loader: no silent duplicates, and merge keys (`<<: *anchor`) are followed."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        self.flatten_mapping(node)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put what a mapping merges before its own keys, which win; checked once, as it is in the file."""
        if hasattr(node, "checked"):
            return
        node.checked, seen = True, set()
        for key, value in node.value:
            if isinstance(key.value, list):  # of a list or a mapping, which no key can be
                raise yaml.constructor.ConstructorError(None, None, "a key that is no text", key.start_mark)
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(str(key.value))
            if key.tag == _MERGE and isinstance(value, yaml.SequenceNode) and len(value.value) > _MERGED:
                raise yaml.constructor.ConstructorError(None, None, f"more than {_MERGED} mappings", key.start_mark)
        yaml.constructor.SafeConstructor.flatten_mapping(self, node)
        node.value = list({str(key.value): (key, value) for key, value in node.value}.values())


class Loader(_Rules, yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2."""


class FastLoader(_Rules, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """The same on libyaml, eight times as fast, whose errors are less exact."""


class TextLoader(_Rules, yaml.BaseLoader):
    """All scalars are text; tags are not looked at."""

    yaml_implicit_resolvers: dict = {}


class Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper that also quotes what YAML 1.2 alone would read as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _loader in (Loader, FastLoader):
    _loader.yaml_implicit_resolvers = {}
for _kind, _pattern in _KINDS:
    _tag = f"tag:yaml.org,2002:{_kind}"
    _exact = re.compile(f"(?:{_pattern.pattern})$")
    Dumper.add_implicit_resolver(_tag, _exact, None)
    for _loader in (Loader, FastLoader):
        _loader.add_implicit_resolver(_tag, _exact, None)
        _loader.add_constructor(_tag, lambda loader, node, kind=_kind: _VALUES[kind](node.value))
for _loader in (Loader, FastLoader, TextLoader):
    _loader.add_implicit_resolver(_MERGE, re.compile("<<$"), ["<"])
