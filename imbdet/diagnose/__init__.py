"""See what is imbalanced in a data set, and after a training what became of it.

    diagnosis = imbdet.diagnose("DATA")                      # a folder, annotation files, Records, or {split: Records}
    diagnosis = imbdet.diagnose(records, cfg, run="output/run")
    diagnosis.sections["classes"]["imbalance"]["train"]["gini"]
    diagnosis.html("report.html")

The story: `inputs.py` reads the splits; one file a section measures (`classes.py`, `foreground.py`, `size.py`,
`place.py`, `iou.py`, `regression.py`, `overlap.py` with `duplicates.py` and `labels.py`, `run.py` with `tide.py` and
`measured.py`), each a function from arrays to plain numbers, or `Missing` with what to give; `rules.py` is the table
that leads from a measure to remedies; `page.py` draws it all.
Notable: this module can be called, as `imbdet.diagnose(...)`: it is the same function.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .build import Options, build
from .diagnosis import Diagnosis
from .structures import SECTIONS, Finding, Missing

__all__ = ["SECTIONS", "Diagnosis", "Finding", "Missing", "diagnose"]


def diagnose(
    records: Any,
    cfg: Any = None,
    run: Any = None,
    *,
    name: str = "",
    config: str = "",
    before: Any = None,
    split: str = "val",
    read_pictures: bool = True,
    progress: bool = False,
) -> Diagnosis:
    """Measure what is imbalanced in a data set.

    Args:
        records: Records, {split: Records} with the training split first, or the path (or paths) of a data set.
        cfg: a config, from `imbdet.load_config`, whose data this is: its resize, anchors and matcher make the numbers
            of sections 2, 3, 5 and 6. None leaves them out. By default the run's.
        run: the folder of a training on this data; its numbers and its detections make section 8.
        name: what the page is called; by default the training split's source.
        config: how the suggested commands are to name the config, e.g. "baselines/faster_rcnn_shapes".
        before: the folder of a run to put beside `run`; by default the baseline of the same seed, where `run` is a run
            of a comparison.
        split: which split the run is evaluated on.
        read_pictures: look for near-duplicates and show pictures; False reads annotations only.
        progress: a progress bar on stderr while pictures are read.

    Raises:
        ValueError: input that cannot be read, or a run of other data. FileNotFoundError: no such file.
    """
    return build(records, Options(cfg, run, name, config, before, split, read_pictures, progress))


class _Callable(ModuleType):
    """`imbdet.diagnose` is both this package and its function, whichever is imported first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Diagnosis:
        return diagnose(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
