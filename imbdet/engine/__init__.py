"""The training loop and what it needs. Start reading at `loop.py`; everything else is called from there in plain sight.

loop        the loop                        build       the objects of a run, made from its config
settings    cfg.train, checked              optimizer   parameter groups, clipping, scaling rule
schedule    learning rate                   ema         averaged weights
checkpoint  files that survive a kill       weights     weights only, from ours or detectron2's files
run_folder  may we write, resume, overwrite stop        SIGTERM and Ctrl-C
log         metrics.jsonl and TensorBoard   progress    bar, lines, times
meters      numbers of a step, read late    validation  evaluation during training
seed        random generators               distributed several processes
environment what it was computed with       summary     what is said before the first step
origin      what a checkpoint carries       trained     use and evaluate a trained detector
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .budget import train
    from .weights import load_model_weights

__all__ = ["load_model_weights", "train"]


def __getattr__(name: str) -> Any:
    """Import the loop when it is asked for: configs import `engine.schedule` and need not pay for it."""
    if name == "train":
        from .budget import train

        return train
    if name == "load_model_weights":
        from .weights import load_model_weights

        return load_model_weights
    raise AttributeError(f"module 'imbdet.engine' has no attribute {name!r}")
