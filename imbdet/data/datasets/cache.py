"""Files that are read once.

A config may name one data set in several places (the loader, the number of classes, the evaluation); all of them get
the same `Records`. What was read is kept as long as the files are the same by path, time of change and size.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

_KEPT = 16  # a train, val and test split of a few data sets
_results: OrderedDict[tuple, Any] = OrderedDict()


def signature(paths: Iterable[str]) -> tuple:
    """Return what these files are now: absolute path, time of change and size of each."""
    stats = ((os.path.abspath(path), os.stat(path)) for path in paths)
    return tuple((path, stat.st_mtime_ns, stat.st_size) for path, stat in stats)


def cached(key: tuple, make: Callable[[], Any]) -> Any:
    """Return the result of an earlier call with this key, or else of `make()`; an exception is never kept."""
    if key not in _results:
        _results[key] = make()
        while len(_results) > _KEPT:
            _results.popitem(last=False)
    _results.move_to_end(key)
    return _results[key]
