"""States in two processes: `python -m tests.remedies.state_checks OUTPUT [REMEDY ...]`, with RANK and WORLD_SIZE set,
leaves what each remedy of `test_running_state` remembers after two steps in OUTPUT/rank{r}.pth. Each process has
pictures of its own.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from tests.remedies.test_running_state import build, candidates, losses, snapshot


def states_after(steps, rank, remedies=()):
    """{remedy: what it remembers} after steps on the pictures of process `rank`; all remedies if none is named."""
    found = {}
    for remedy in remedies or candidates("RunningState"):
        model = build(remedy)
        for step in range(steps):
            losses(model, 10 * step + rank + 1)
        found[remedy] = snapshot(model)
    return found


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    place = Path(sys.argv[1]) / f"rank{distributed.get_rank()}.pth"
    torch.save(states_after(2, distributed.get_rank(), sys.argv[2:]), place)
    distributed.barrier()
    distributed.destroy_process_group()
