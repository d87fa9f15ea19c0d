"""Write an exported detector and open it again, in each of the formats, with what a user must know in its metadata."""

import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from .. import __version__
from ..engine.origin import resize_of
from ..engine.trained import Predictor
from .parts import CANDIDATES, exportable

EXTRA_FILE = "imbdet.json"  #: the metadata beside the graph of TorchScript and torch.export
OUTPUTS = ("boxes", "scores", "labels")
EXAMPLE = (3, 100, 120)  #: of the picture that graphs are recorded with; no size of it stays in them

Call = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


def export(detector: Predictor, form: str, path: str | Path) -> dict[str, Any]:
    """Write `detector` to `path` in a format of `FORMATS`; returns the metadata that it carries.

    The graph takes one picture, uint8 RGB (3, H, W) of any size, normalizes and pads it, and gives `max_detections`
    rows: boxes float32 (T, 4) XYXY in pixels of that picture, scores (T,), best first, labels int64 (T,); where less
    was found, the last rows have score 0 and label -1. The run's resize is not in it: `information["resize"]` is the
    config's node of it.

    Raises:
        ValueError: an unknown format, or a detector that cannot be exported, with the part and the reason.
        ImportError: a package that the format needs, with the extra that installs it.
    """
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}; use one of {', '.join(FORMATS)}")
    model, about = exportable(detector.model), information(detector)
    _needs(form)
    with torch.no_grad():
        try:
            FORMATS[form][0](model, Path(path), about)
        except Exception as error:
            if isinstance(error, OSError):
                raise
            remedies = list(detector.cfg.get("remedies") or ())
            who = type(detector.model).__name__ + (f" with {', '.join(map(str, remedies))}" if remedies else "")
            raise ValueError(f"{who} cannot be exported as {form}: {_reason(error)}") from error
    return about


def open_exported(path: str | Path) -> tuple[Call, dict[str, Any]]:
    """A file that `export` wrote -> a call (image uint8 (3, H, W) -> boxes, scores, labels) and its metadata.

    Raises:
        FileNotFoundError: no such file. ValueError: its suffix is none of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no exported detector at {path}")
    form = next((name for name, (_, _, suffix) in FORMATS.items() if suffix == path.suffix), None)
    if form is None:
        raise ValueError(f"{path} is none of {', '.join(suffix for _, _, suffix in FORMATS.values())}")
    _needs(form)
    call, text = FORMATS[form][1](path)
    return call, json.loads(text)


def information(detector: Predictor) -> dict[str, Any]:
    """What an exported file says of itself; every value is JSON."""
    node, model = resize_of(detector.cfg), detector.model
    return {
        "imbdet": __version__,
        "class_names": list(detector.class_names),
        "category_ids": list(detector.category_ids),
        "input": "image: uint8 RGB (3, height, width), any size; normalized and padded inside",
        "output": "boxes (T, 4) XYXY in pixels of the input, scores (T,), labels (T,); label -1 is not a detection",
        "resize": OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node,
        "score_threshold": float(model.score_threshold),
        "nms_threshold": float(model.nms_threshold),
        "max_detections": int(model.max_detections),
        "max_candidates": CANDIDATES,
        "remedies": [str(name) for name in detector.cfg.get("remedies") or ()],
    }


def _graph(model: nn.Module) -> Any:
    """The detector as torch.export records it, height and width free."""
    free = torch.export.Dim.DYNAMIC
    image = torch.zeros(EXAMPLE, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision's operators, for torch
        return torch.export.export(model, (image,), dynamic_shapes={"image": {1: free, 2: free}}, strict=False)


def _write_onnx(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.onnx.export(
            _graph(model), dynamo=True, input_names=["image"], output_names=list(OUTPUTS), verbose=False
        )
    assert program is not None
    program.model.metadata_props.update(
        {key: value if isinstance(value, str) else json.dumps(value) for key, value in about.items()}
    )
    program.model.metadata_props["names"] = json.dumps(dict(enumerate(about["class_names"])))
    program.model.metadata_props[EXTRA_FILE] = json.dumps(about)
    program.save(path)


def _open_onnx(path: Path) -> tuple[Call, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def call(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, labels = (torch.from_numpy(np.asarray(x)) for x in session.run(None, {"image": image.numpy()}))
        return boxes, scores, labels

    return call, session.get_modelmeta().custom_metadata_map[EXTRA_FILE]


def _write_torchscript(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    _graph(model)  # refuses a number that depends on what is in the picture; a trace would make it a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, (torch.zeros(EXAMPLE, dtype=torch.uint8),), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={EXTRA_FILE: json.dumps(about)})


def _open_torchscript(path: Path) -> tuple[Call, str]:
    extra = {EXTRA_FILE: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is called deprecated
        model = torch.jit.load(str(path), _extra_files=extra)
    text = extra[EXTRA_FILE]
    return model, text.decode() if isinstance(text, bytes) else text


def _write_torch_export(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    torch.export.save(_graph(model), path, extra_files={EXTRA_FILE: json.dumps(about)})


def _open_torch_export(path: Path) -> tuple[Call, str]:
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(path, extra_files=extra)
    # its guards are about the layout of small maps, and no value depends on them; older versions of torch have none
    known = inspect.signature(program.module).parameters
    return program.module(**({"check_guards": False} if "check_guards" in known else {})), extra[EXTRA_FILE]


#: name -> how it is written, how it is opened, the suffix of its files
FORMATS: dict[str, tuple[Callable, Callable, str]] = {
    "onnx": (_write_onnx, _open_onnx, ".onnx"),
    "torchscript": (_write_torchscript, _open_torchscript, ".torchscript"),
    "torch_export": (_write_torch_export, _open_torch_export, ".pt2"),
}


def _needs(form: str) -> None:
    if form == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ImportError(f"{error}: ONNX needs the extra `export`: pip install 'imbdet[export]'") from error


def _reason(error: BaseException) -> str:
    """The first line that says something of the deepest cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no text'}"[:400]
