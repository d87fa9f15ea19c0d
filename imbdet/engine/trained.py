"""Use a trained detector: from a run folder, from one of its checkpoints alone, or from a config and weights.

Notable: the classes are those that the checkpoint carries, so no training data is read, and other data is evaluated by
the names of its classes. The pictures to evaluate on are the config's, with its overrides.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf, open_dict
from torch import Tensor, nn

from ..config import LazyCall, config_in, instantiate
from ..data.class_names import TrainedOn
from ..data.images import decode
from ..data.tiles import Tiles
from ..evaluation.classes import match_classes
from ..evaluation.coco import evaluate_coco
from ..evaluation.detections import Detections
from ..evaluation.ground_truth import as_ground_truth
from ..evaluation.inference import predict
from ..evaluation.pictures import predict_picture
from ..evaluation.result import Result
from ..runs import RunFolder
from .checkpoint import load_file
from .distributed import pick_device, world_of
from .origin import resize_of, tiles_of, trained_on, training_records, without_data
from .weights import is_detectron2, load_model_weights


@dataclass
class Predictor:
    """A trained detector with what it needs on pictures.

    Attributes:
        model: in eval mode, on its device; see docs/python-api.md for its call.
        class_names: K names in the order of the labels. category_ids: K ids of its training data, for COCO files.
        resize: what a picture goes through before the model, None for nothing.
        tiles: the parts of a picture that it looks at (`imbdet.data.tiles.Tiles`), None for the whole alone.
        cfg: its config. checkpoint: the file of its weights.
        data: what it was trained on, None if an older checkpoint does not say.
    """

    model: nn.Module
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    resize: Any
    cfg: Any
    checkpoint: Path
    data: TrainedOn | None = None
    tiles: Tiles | None = None

    def predict(self, picture: str | Path | Tensor, threshold: float = 0.5) -> dict[str, Any]:
        """Return what the detector finds in a picture (a file, or uint8 RGB (3, H, W)), best first.

        Returns {"boxes": (D, 4) XYXY in pixels of the picture, "scores": (D,), "labels": (D,), "names": D names}.
        Raises OSError or ValueError for a file that is no picture.
        """
        image = picture if isinstance(picture, Tensor) else decode(str(picture))
        found: dict[str, Any] = predict_picture(self.model, image, self.resize, threshold, self.tiles)
        return {**found, "names": [self.class_names[label] for label in found["labels"].tolist()]}


def load_run(
    run: str | Path,
    which: str | None = None,
    device: str | None = None,
    remedies: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Predictor:
    """Load the detector of a run, without its training data.

    Args:
        run: a folder that training wrote, or one of its checkpoints (`best.pth`), which may lie anywhere.
        which: "best" or "last" weights of a folder; None: the best if there are any.
        device: "cpu", "cuda", ...; None: the config's `train.device`.
        remedies, overrides: as in `load_config`, e.g. a calibration, or ["model.score_threshold=0.2"].

    Raises:
        FileNotFoundError: no such run, with those that are near. ValueError: a file that is damaged or no run's.
    """
    cfg, checkpoint = open_run(run, which, remedies, overrides)
    return load_predictor(cfg, checkpoint, device)


def open_run(
    run: str | Path, which: str | None = None, remedies: Sequence[str] = (), overrides: Sequence[str] = ()
) -> tuple[Any, Path]:
    """Return the config and the checkpoint file of a run folder or of a checkpoint. Arguments and errors as of
    `load_run`.
    """
    path = Path(run)
    if not path.is_file():
        folder = RunFolder(path).checked()
        return folder.config(remedies, overrides), folder.checkpoint(which)
    if which:
        raise ValueError(f"{path} is a file, so which={which!r} has no meaning; give the folder of the run")
    config = load_file(path).get("config")
    if not isinstance(config, dict):
        raise ValueError(
            f"{path} holds no config, so it is not a run's checkpoint; give --config C --checkpoint {path}"
        )
    return config_in(config, f"the config in {path}", remedies, overrides), path


def load_predictor(cfg: Any, checkpoint: str | Path, device: str | None = None) -> Predictor:
    """Load the config's detector with the weights of a checkpoint. Raises as `load_model`."""
    model, data = load_model(cfg, checkpoint, pick_device(device or str(cfg.train.device)))
    known = data or training_records(cfg)
    node = resize_of(cfg)
    resize = instantiate(node) if node is not None else None
    if resize is not None and not callable(resize):
        raise ValueError(f"the config's dataloader.val.resize is {node!r}; expected null, or a node with a _target_")
    tiles = tiles_of(cfg)
    return Predictor(
        model,
        tuple(known.class_names),
        tuple(int(i) for i in known.category_ids),
        resize,
        cfg,
        Path(checkpoint),
        data,
        instantiate(tiles) if tiles is not None else None,
    )


def with_tiles(cfg: Any, tiles: float) -> Any:
    """Return a copy of a config whose evaluation looks at tiles of this size (see `Tiles`)."""
    cfg = copy.deepcopy(cfg)
    for split in ("val", "test"):
        loader = OmegaConf.select(cfg, f"dataloader.{split}")
        if loader is not None:
            with open_dict(loader):
                loader.tiles = LazyCall(Tiles)(size=tiles)
    return cfg


def load_model(cfg: Any, checkpoint: str | Path, device: Any = "cpu") -> tuple[nn.Module, TrainedOn | None]:
    """Load the config's detector with the weights of a checkpoint, in eval mode on `device`; and what the checkpoint
    says it was trained on. If that is nothing, the config's training data is read to build the model, with a warning.

    Raises:
        FileNotFoundError: no such file. ValueError: a damaged file, or one of another model, with what does not fit.
    """
    data = _data_of(Path(checkpoint))
    model = instantiate((cfg if data is None else without_data(cfg, data)).model)
    if not isinstance(model, nn.Module):
        raise ValueError(f"the config's model is a {type(model).__name__}; expected a node with a _target_")
    load_model_weights(model, checkpoint)
    return model.to(device).eval(), data


def _data_of(checkpoint: Path) -> TrainedOn | None:
    if checkpoint.suffix == ".pkl":  # of detectron2, which never says
        return None
    state = load_file(checkpoint)
    data = trained_on(state, checkpoint)
    if data is None and not is_detectron2(state.get("model", state)):
        warnings.warn(
            f"{checkpoint} was written before checkpoints carried their classes: which classes it learned, in which"
            " order and on what data is unknown. They are read from the training data of the config, and are wrong if"
            " that has changed since",
            stacklevel=4,
        )
    return data


def evaluate(cfg: Any, checkpoint: str | Path, split: str = "val", count_unknown: bool = False) -> dict[str, Any]:
    """Compute the COCO metrics of a checkpoint on a split of its config's data, as `Result.to_dict()` gives them.

    Under torch.distributed.run the processes share the images, and each gets the result.

    Args:
        cfg: a config, from `imbdet.load_config`.
        checkpoint: a file of weights.
        split: "val" or "test".
        count_unknown: see `match_classes`.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it does not fit the config's model, there is no such split, or it shares no class with the data.
    """
    return evaluate_checkpoint(cfg, checkpoint, split, count_unknown=count_unknown)[0].to_dict()


def evaluate_checkpoint(
    cfg: Any,
    checkpoint: str | Path,
    split: str = "val",
    max_dets: Sequence[int] = (1, 10, 100),
    count_unknown: bool = False,
) -> tuple[Result, Detections]:
    """Evaluate as `evaluate` does, but return the Result with its arrays, and what was found, in the labels of the
    data.

    max_dets: see `evaluate_coco`.
    """
    loader_config = _part(cfg, "dataloader", split)
    data_config = _part(cfg, "data", split)
    with world_of(str(cfg.train.device)) as world:
        model, data = load_model(cfg, checkpoint, world.device)
        loader = instantiate(loader_config)
        names = None if data is None else data.class_names
        detections = predict(model, loader, shared=world.size > 1, class_names=names)
        truth, train = as_ground_truth(instantiate(data_config)), data or training_records(cfg)
        truth, detections = match_classes(truth, detections, count_unknown)
        detections.keys = truth.keys
        result = evaluate_coco(truth, detections, train, max_dets)
    return result, detections


def _part(cfg: Any, key: str, split: str) -> Any:
    if cfg.get(key) is None or cfg[key].get(split) is None:
        known = [name for name in ("val", "test") if cfg.get(key) is not None and cfg[key].get(name) is not None]
        raise ValueError(f"this config has no {key}.{split}; it has {', '.join(known) or 'none to evaluate on'}")
    return cfg[key][split]
