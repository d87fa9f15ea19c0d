"""Filter a data set, resample it to a stated target, split it anew, and write it with where it came from.

    records, provenance = imbdet.balance("DATA", target="equal", copies=4)
    train, _ = imbdet.balance(records, make_imbalanced=100)     # Records in, Records out
    print(provenance.table())
    imbdet.balance.write(provenance, "OUT", format="coco", pictures="link")

The story: `pool.py` joins the splits and holds what is chosen of them; `options.py` is the table of what can be asked;
`build.py` has the order: `filters.py` (classes, boxes, pictures, caps), `split.py` (iterative stratification, folds),
`resample.py` (random sampling, repeat factors, a target, a given imbalance) on top of `target.py` (what is reachable,
and the choice that comes near); `provenance.py` tells what was done; `export.py` and `formats.py` write it, with what
`originals.py` kept of a COCO file.
Notable: this module can be called, as `imbdet.balance(...)`: it is the same function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..data.records import Records
from ..diagnose.inputs import as_splits
from .build import balanced
from .export import write
from .options import Options
from .provenance import Provenance, final_records, provenance_of

__all__ = ["Options", "Provenance", "balance", "write"]


def balance(
    records: Any, *, name: str = "", command: str = "", progress: bool = False, **options: Any
) -> tuple[Records | dict[str, Records], Provenance]:
    """Change a data set; nothing is written, and the input stays as it is.

    Args:
        records: Records, {split: Records} with the training split first, or the path (or paths) of a data set.
        name: what the provenance calls the input. command: what it says how to do it again.
        progress: a progress bar on stderr while pictures are read.
        options: see `Options`.

    Returns:
        Records, where Records came in and no split was asked for, else {part: Records}; and the Provenance,
        from which `imbdet.balance.write` writes them. Ids are the file's where they are unique; repeats of an image
        have new ones.

    Raises:
        ValueError: an option that there is not or that does not fit the data. FileNotFoundError: no such file.
    """
    asked = Options.of(**options)
    done = balanced(as_splits(records), asked, progress)
    paths = [records] if isinstance(records, (str, os.PathLike)) else records
    if isinstance(paths, Sequence):
        done.places = [os.path.expanduser(os.fspath(path)) for path in paths]
        name = name or " ".join(Path(path).resolve().name for path in done.places)
    provenance = provenance_of(done, name, command)
    made = final_records(done)
    alone = isinstance(records, Records) and len(made) == 1
    return (next(iter(made.values())) if alone else made), provenance


class _Callable(ModuleType):
    """`imbdet.balance` is both this package and its function, whichever is imported first."""

    def __call__(self, *args: Any, **kwargs: Any):
        return balance(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
