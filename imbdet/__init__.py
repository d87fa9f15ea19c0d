"""imbdet: which remedy for which imbalance helps an object detector on your data.

    import imbdet
    cfg = imbdet.load_config("baselines/faster_rcnn_shapes", remedies=["focal_loss"], overrides=["train.max_iter=100"])
    diagnosis = imbdet.diagnose("DATA", cfg)
    splits, provenance = imbdet.balance("DATA", target="equal")
    model = imbdet.instantiate(cfg.model)
    result = imbdet.train(cfg)
    metrics = imbdet.evaluate(cfg, "output/run/best.pth")
    found = imbdet.load_run("output/run").predict("photo.jpg")
    imbdet.load_detectron2_weights(model, "model_final.pkl")

What is notable here: each name is imported when it is first used, so `import imbdet` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from imbdet.cores import limit_spinning

limit_spinning()  # before torch is loaded

__version__ = "0.1.0"

# name -> the module that defines it
_LAZY = {
    "balance": "imbdet.balance",
    "diagnose": "imbdet.diagnose",
    "instantiate": "imbdet.config",
    "load_config": "imbdet.config",
    "train": "imbdet.engine",
    "evaluate": "imbdet.engine.trained",
    "load_run": "imbdet.engine.trained",
    "load_detectron2_weights": "imbdet.modeling.detectron2_weights",
}

__all__ = [
    "__version__",
    "balance",
    "diagnose",
    "evaluate",
    "instantiate",
    "load_config",
    "load_detectron2_weights",
    "load_run",
    "train",
]

if TYPE_CHECKING:
    from imbdet.balance import balance
    from imbdet.config import instantiate, load_config
    from imbdet.diagnose import diagnose
    from imbdet.engine import train
    from imbdet.engine.trained import evaluate, load_run
    from imbdet.modeling.detectron2_weights import load_detectron2_weights


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'imbdet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
