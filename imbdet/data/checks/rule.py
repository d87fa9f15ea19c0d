"""What a rule is, and the table of all rules, which the files of rules fill in the order of the repair."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from imbdet.data.checks.table import Hit

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Rule:
    """severity, what was found, what would be right; `find` and flags as the file's docstring says."""

    code: str
    severity: str
    title: str
    right: str
    find: Callable[..., Iterable[Hit]] | None = None
    quick: bool = False
    drops: bool = False
    once: bool = False


RULES: dict[str, Rule] = {}


def rule(code: str, severity: str, title: str, right: str, **flags: bool):
    """Put a rule into `RULES`; used as a decorator of the function that finds it."""
    RULES[code] = Rule(code, severity, title, right, None, **flags)

    def with_find(find: Callable[..., Iterable[Hit]]) -> Callable[..., Iterable[Hit]]:
        RULES[code] = Rule(code, severity, title, right, find, **flags)
        return find

    return with_find
