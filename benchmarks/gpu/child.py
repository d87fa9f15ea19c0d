"""A process that does units of one part, one after another, for the process that started it.

It lives on its own so that an illegal access on the device, which spoils the process for all that follows, or a kernel
that never ends costs one unit.
"""

import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from imbdet.write import print_to

from .parts import Part


def serve(pipe: Connection, part: Part, device: str, small: bool, log: str, threads: int) -> None:
    """Answer each unit that comes through the pipe with its figures, until None comes."""
    print_to(Path(log))
    import torch

    torch.set_num_threads(threads)
    module = part.module
    while (unit := pipe.recv()) is not None:
        print(f"=== {part.name} {unit}", flush=True)
        began = time.perf_counter()
        try:
            row = module.run(unit, device, small)
        except Exception as error:
            traceback.print_exc()
            row = {"short": [f"{type(error).__name__}: {_first_line(error)}"]}
        row["seconds"] = round(time.perf_counter() - began, 2)
        row["unusable"] = _unusable(device)
        pipe.send(row)
        if row["unusable"]:
            return


def _unusable(device: str) -> str:
    """Why this process can do nothing more on the device; "" if it can."""
    if device == "cpu":
        return ""
    import torch

    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except Exception as error:  # an error of the device stays until the process ends
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def figures(**values: Any) -> dict[str, Any]:
    """A row: numbers with four digits that count, lists and texts as they are."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}
