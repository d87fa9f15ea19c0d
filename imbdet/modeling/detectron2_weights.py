"""detectron2's weights under our names: its checkpoints, its model zoo pickles, and its ImageNet backbones.

Only prefixes and the names inside a ResNet differ; every shape is the same. Pickles are read by an unpickler that knows
arrays and nothing else, so that a file from the net cannot run code.
"""

import codecs
import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .class_rows import rows_by_name

#: what holds no weight of ours: constants that we compute, and heads that we do not have
_CONSTANTS = re.compile(
    r"(^|\.)(pixel_mean|pixel_std|cell_anchors\.\d+|anchor_generator\.cell_anchors\.\d+|num_batches_tracked)$"
)
_RULES = (
    (r"^proposal_generator\.rpn_head\.", "rpn.head."),
    (r"^backbone\.(fpn_lateral|fpn_output|top_block)", r"neck.\1"),
    (r"^backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.body.bn1."),
    (r"^backbone\.bottom_up\.stem\.conv1\.", "backbone.body.conv1."),
    (r"^backbone\.bottom_up\.res(\d)\.(\d+)\.", lambda m: f"backbone.body.layer{int(m[1]) - 1}.{m[2]}."),
    (r"(layer\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"(layer\d\.\d+)\.shortcut\.norm\.", r"\1.downsample.1."),
    (r"(layer\d\.\d+)\.shortcut\.", r"\1.downsample.0."),
)


def our_name(name: str) -> str | None:
    """The name of detectron2's state entry `name` here; None for constants that a checkpoint need not carry."""
    if _CONSTANTS.search(name):
        return None
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def load_detectron2_weights(
    model: nn.Module,
    state_dict_or_path,
    strict: bool = True,
    classes: tuple[Sequence[str], Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Load weights that detectron2 wrote into one of our detectors.

    Args:
        model: a detector whose backbone is a ResNet of timm (`resnet18`, `resnet50`, ...), or any part of it with
            these names.
        state_dict_or_path: a state dict in detectron2's names (tensors or arrays), or a `.pkl` or `.pth` file of its
            model zoo. Backbones of its ImageNet collection (`R-50.pkl`) are recognized by their Caffe2-style names.
        strict: entries of either side that find no partner are an error; with False they are returned.
        classes: names of the file's classes and of the model's, in the order of their labels: rows of the last layers
            go to the class of the same name (see `rows_by_name`). None: row by row.

    Returns:
        {"missing": entries of the model that the file lacks, "unexpected": entries of the file that the model lacks,
        "other_shape": entries that keep their initial value, such as a head for another number of classes,
        and with `classes` "classes": what became of which}.

    Raises:
        ValueError: an entry that does not fit, with both shapes; missing or unexpected entries under `strict`.
    """
    state, source = _read(state_dict_or_path)
    backbone_only = any(k.startswith(("res2_0_branch", "conv1_w")) for k in state) or any(
        k.startswith("stem.") for k in state
    )
    if backbone_only:
        state = {
            f"backbone.bottom_up.{_caffe2_name(k)}": v
            for k, v in state.items()
            if not k.startswith(("fc1000", "pred", "linear."))
        }
    renamed = {new: torch.as_tensor(v) for k, v in state.items() if (new := our_name(k)) is not None}
    renamed, told = (renamed, []) if classes is None else rows_by_name(model, renamed, *classes)
    own = model.state_dict()
    constants = {k for k in own if _CONSTANTS.search(k) or k.endswith("criterion.normalizer.value")}
    missing = sorted(set(own) - set(renamed) - constants)
    unexpected = sorted(set(renamed) - set(own))
    other = [k for k in own if k in renamed and own[k].shape != renamed[k].shape]
    if other and strict:
        k = other[0]
        raise ValueError(
            f"{source}: {k} is {tuple(renamed[k].shape)}, the model has {tuple(own[k].shape)} "
            f"({len(other)} such entries)"
        )
    if backbone_only:
        missing_backbone = [k for k in missing if k.startswith("backbone.")]
        if strict and (missing_backbone or unexpected):
            raise ValueError(_mismatch(source, missing_backbone, unexpected))
    elif strict and (missing or unexpected):
        raise ValueError(_mismatch(source, missing, unexpected))
    model.load_state_dict({k: v for k, v in renamed.items() if k in own and k not in other}, strict=False)
    report = {"missing": missing, "unexpected": unexpected, "other_shape": other}
    return report if classes is None else {**report, "classes": told}


def _mismatch(source: str, missing: list[str], unexpected: list[str]) -> str:
    return (
        f"{source} is not of this model: {len(missing)} entries missing {missing[:5]}, {len(unexpected)} unexpected "
        f"{unexpected[:5]}. Is the config the one that the weights were trained with?"
    )


def _caffe2_name(name: str) -> str:
    """Names of detectron2's ImageNet pickles: `res2_0_branch2a_bn_s` or, of converted ones,
    `res2.0.conv1.norm.weight`.
    """
    if not re.match(r"(res\d_|conv1_|res_conv1_)", name):
        return name
    name = re.sub(r"^(res_)?conv1_bn_", "stem.conv1.norm.", name)
    name = re.sub(r"^conv1_", "stem.conv1.", name)
    name = re.sub(r"^res(\d)_(\d+)_", r"res\1.\2.", name)
    name = name.replace("branch1_", "shortcut_")
    for letter, number in (("a", 1), ("b", 2), ("c", 3)):
        name = name.replace(f"branch2{letter}_", f"conv{number}_")
    name = name.replace("_bn_", ".norm.")
    name = re.sub(r"_(w|b)$", r".\1", name)
    ends = {"w": "weight", "b": "bias", "s": "weight", "rm": "running_mean", "riv": "running_var"}
    head, _, end = name.rpartition(".")
    return f"{head}.{ends.get(end, end)}"


def _read(source) -> tuple[dict[str, Tensor], str]:
    if isinstance(source, dict):
        state = source.get("model", source)
        return dict(state), "the state dict"
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {source}")
    if path.suffix == ".pkl":
        with path.open("rb") as file:
            data = _ArraysOnly(file, encoding="latin1").load()
    else:
        data = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(data, dict):
        raise ValueError(f"{source} holds a {type(data).__name__}, expected a dict of arrays")
    for key in ("model", "model_state", "blobs", "state_dict"):
        if isinstance(data.get(key), dict):
            data = data[key]
    return {k: torch.as_tensor(v) for k, v in data.items() if isinstance(v, (np.ndarray, Tensor))}, str(source)


class _ArraysOnly(pickle.Unpickler):
    """numpy arrays and plain containers; anything else is refused."""

    allowed = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): dict,
        ("_codecs", "encode"): None,
    }

    def find_class(self, module: str, name: str):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("_reconstruct", "scalar"):
            multiarray = getattr(np, "_core", None) or np.core  # the private name is numpy 2's
            return getattr(multiarray.multiarray, name)
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        raise pickle.UnpicklingError(f"refused to load {module}.{name}: a weights file holds arrays only")
