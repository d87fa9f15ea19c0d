"""Evaluate or use a trained detector by its config: which weights, which split, on which device.

Notable: the groups of rare and frequent classes come from the config's own train split, as it is before any balancing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .coco import evaluate_coco
from .detections import Detections
from .result import Result

WHICH = ("best", "last")


def evaluate(cfg: Any, checkpoint: str | Path, split: str = "val") -> dict[str, Any]:
    """COCO metrics of a checkpoint on a split of its config's data, as `Result.to_dict()` gives them.

    Under torch.distributed.run the processes share the images, and each gets the result.

    Args:
        cfg: a config, from `imbdet.load_config`. checkpoint: a file of weights. split: "val" or "test".

    Raises:
        FileNotFoundError: no such checkpoint. ValueError: it does not fit the config's model, or there is no such
        split.
    """
    return evaluate_checkpoint(cfg, checkpoint, split)[0].to_dict()


def evaluate_checkpoint(
    cfg: Any, checkpoint: str | Path, split: str = "val", max_dets: Sequence[int] = (1, 10, 100)
) -> tuple[Result, Detections]:
    """As `evaluate`, but gives the Result with its arrays, and what was found. max_dets: see `evaluate_coco`."""
    from ..config import instantiate
    from ..engine.distributed import world_of
    from .inference import predict

    loader_config = _part(cfg, "dataloader", split)
    data_config = _part(cfg, "data", split)
    with world_of(str(cfg.train.device)) as world:
        model = load_model(cfg, checkpoint, world.device)
        loader = instantiate(loader_config)
        detections = predict(model, loader, shared=world.size > 1)
        train = instantiate(cfg.data.train) if cfg.data.get("train") is not None else None
        result = evaluate_coco(instantiate(data_config), detections, train, max_dets)
    return result, detections


def load_model(cfg: Any, checkpoint: str | Path, device: Any = "cpu") -> nn.Module:
    """The config's detector with the weights of a checkpoint, in eval mode on `device`.

    Raises:
        FileNotFoundError: no such file. ValueError: a damaged file, or one of another model, with what does not fit.
    """
    from ..config import instantiate
    from ..engine.weights import load_model_weights

    model = instantiate(cfg.model)
    load_model_weights(model, checkpoint)
    return model.to(device).eval()


def checkpoint_of(run: str | Path, which: str | None = None) -> Path:
    """The weights of a run folder: best.pth if there is one, else last.pth; or the one that `which` names.

    Raises:
        FileNotFoundError: no such folder or file; with what there is.
    """
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"no run at {run}: a run is the folder that training wrote (train.output_dir)")
    if not (run / "config.yaml").is_file():
        near = sorted(str(path.parent) for path in run.glob("*/config.yaml"))[:5]
        hint = f"; there are runs at {', '.join(near)}" if near else ""
        raise FileNotFoundError(f"{run} is not a run: it holds no config.yaml{hint}")
    names = [f"{name}.pth" for name in ([which] if which else WHICH)]
    found = [run / name for name in names if (run / name).is_file()]
    if not found:
        there = sorted(path.name for path in run.glob("*.pth"))
        hint = f"; it has {', '.join(there)}" if there else ""
        raise FileNotFoundError(f"{run} holds no {' or '.join(names)}{hint}")
    return found[0]


def _part(cfg: Any, key: str, split: str) -> Any:
    if cfg.get(key) is None or cfg[key].get(split) is None:
        known = [name for name in ("val", "test") if cfg.get(key) is not None and cfg[key].get(name) is not None]
        raise ValueError(f"this config has no {key}.{split}; it has {', '.join(known) or 'none to evaluate on'}")
    return cfg[key][split]
