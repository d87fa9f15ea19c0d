"""`python -m tests.engine OUTPUT_DIR [--resume] [key=value ...]` trains the fakes: for tests that need other processes.

With several processes, each leaves its weights in OUTPUT_DIR/rank{r}.pth.
"""

import sys
from pathlib import Path

import torch

from imbdet.engine import loop

from .fakes import fake_config


def keep_weights(run, *args, finish=loop._finish):
    if run.world.size > 1:
        torch.save(run.model.state_dict(), Path(run.settings.output_dir) / f"rank{run.world.rank}.pth")
    return finish(run, *args)


if __name__ == "__main__":
    loop._finish = keep_weights
    words = sys.argv[2:]
    loop.train(fake_config(sys.argv[1], *(w for w in words if "=" in w)), resume="--resume" in words)
