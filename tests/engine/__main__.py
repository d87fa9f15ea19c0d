"""`python -m tests.engine OUTPUT_DIR [--resume] [key=value ...]` trains the fakes: for tests that need other processes.

With the path of a .yaml config in place of OUTPUT_DIR, that config. With several processes, each leaves its weights in
the run's folder, rank{r}.pth.
"""

import sys
from pathlib import Path

import torch

from imbdet.config import load_config
from imbdet.engine import loop

from .fakes import fake_config


def keep_weights(run, *args, finish=loop._finish):
    if run.world.size > 1:
        torch.save(run.model.state_dict(), Path(run.settings.output_dir) / f"rank{run.world.rank}.pth")
    return finish(run, *args)


if __name__ == "__main__":
    loop._finish = keep_weights
    target, *words = sys.argv[1:]
    overrides = [word for word in words if "=" in word]
    given = target.endswith(".yaml")
    cfg = load_config(target, overrides=overrides) if given else fake_config(target, *overrides)
    loop.train(cfg, resume="--resume" in words)
