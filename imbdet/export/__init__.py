"""Trained detectors as files that run without imbdet: ONNX, TorchScript and torch.export.

    from imbdet.export import export, open_exported
    export(imbdet.load_run("output/run"), "onnx", "detector.onnx")
    call, information = open_exported("detector.onnx")
    boxes, scores, labels = call(image)                    # uint8 RGB (3, H, W) of any size

`parts.py` has the steps with fixed limits, `formats.py` the files, `equality.py` the proof that they find the same.
"""

from .equality import Differences, compare
from .formats import FORMATS, export, open_exported

__all__ = ["FORMATS", "Differences", "compare", "export", "open_exported"]
