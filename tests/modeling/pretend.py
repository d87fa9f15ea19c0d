"""A GPU that is not there: tensors that say they are on `cuda:0` while the CPU computes.

What fails on a GPU because two tensors lie on different devices fails here, and what makes the host wait for the device
is counted with its place: values and shapes that the host asks for, and copies that nobody said need not be waited for.
Kernels, precision, streams and autocast are the CPU's. Use: `with PretendGPU() as gpu: model.to("cuda"); ...`, then
`gpu.waits`.
"""

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

import imbdet
from imbdet.modeling.count import WAITS

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
PACKAGE = Path(imbdet.__file__).parent.parent
#: what reads the values of a tensor
READS = {Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__}
READS |= {Tensor.__array__, Tensor.__format__, Tensor.__repr__, Tensor.__contains__}
#: what creates a tensor of its first argument's kind on the host and moves it
FROM_LISTS = {Tensor.new_tensor}
MOVES = {Tensor.to, Tensor.cuda, Tensor.cpu}
_now: list["PretendGPU"] = []


class OnGPU(Tensor):
    """A tensor that holds one of the CPU and says it is on the GPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> "OnGPU":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device="cpu",
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, function.__name__.split(".")[0]
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        elsewhere = [x for x in tensors if not isinstance(x, OnGPU) and x.dim() > 0]
        if elsewhere and name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            _note(f"{name} with indices of the host")
        elif elsewhere and name not in ("copy_", "_to_copy"):
            shapes = [tuple(x.shape) for x in elsewhere]
            raise RuntimeError(f"{name}: tensors on two devices, cuda:0 and cpu {shapes}")
        elif elsewhere and not kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2]):
            _note(name)
        if name in ("index", "index_put", "index_put_"):
            waits = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        else:
            waits = kwargs.get("output_size") is None if name == "repeat_interleave" else name in WAITS
        if waits:
            _note(name)
        plain = tree_map_only(OnGPU, lambda x: x.held, (args, kwargs))
        out = tree_map_only(Tensor, OnGPU, function(*plain[0], **plain[1]))
        return return_and_correct_aliasing(function, args, kwargs, out)


class PretendGPU(TorchFunctionMode):
    """Inside, "cuda" is a device.

    waits: why and where the host waited -> how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __enter__(self) -> "PretendGPU":
        self.overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        _now.append(self)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _now.pop()
        torch.__future__.set_overwrite_module_params_on_conversion(self.overwrites)

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        here = args[0] if args and isinstance(args[0], OnGPU) else None
        if function in MOVES:
            return self._moved(function, args, kwargs)
        if here is not None and function in READS:
            self.note(function.__name__)
            return function(here.held.detach(), *args[1:], **kwargs)
        if here is not None and function in FROM_LISTS:
            self.note(f"{function.__name__} of values of the host")
            return OnGPU(function(here.held, *args[1:], **kwargs))
        if here is not None and function is Tensor.data_ptr:
            return here.held.data_ptr()
        if here is not None and function is Tensor.__deepcopy__:
            copied = OnGPU(here.held.clone()).requires_grad_(here.requires_grad)
            return torch.nn.Parameter(copied, here.requires_grad) if isinstance(here, torch.nn.Parameter) else copied
        if "device" in kwargs and kwargs["device"] is not None:
            device = torch.device(kwargs.pop("device"))
            if function in (torch.tensor, torch.as_tensor) and device.type == "cuda":
                self.note(f"{function.__name__} of values of the host")
            plain = tree_map_only(OnGPU, lambda x: x.held, (args, kwargs))
            made = function(*plain[0], **plain[1])
            return OnGPU(made) if device.type == "cuda" else made
        return function(*args, **kwargs)

    def _moved(self, function: Any, args: tuple, kwargs: dict) -> Any:
        tensor, rest = args[0], list(args[1:])
        device = CUDA if function is Tensor.cuda else CPU if function is Tensor.cpu else kwargs.pop("device", None)
        for i, value in enumerate(rest):
            if isinstance(value, (torch.device, str)):
                device = torch.device(rest.pop(i))
                break
            if isinstance(value, Tensor):
                device, rest[i] = value.device, value.dtype
        waits = not kwargs.pop("non_blocking", len(rest) > 1 and rest.pop() is True)
        rest = [value for value in rest if value is not None]
        on_gpu = isinstance(tensor, OnGPU)
        if device is None or (torch.device(device).type == "cuda") == on_gpu:
            return tensor.to(*rest, **kwargs) if rest or kwargs else tensor
        if on_gpu or waits:
            self.note(f"to {torch.device(device).type}")
        if on_gpu:
            return tensor.held.detach().to(*rest, **kwargs)
        moved = tensor.detach().to(*rest, **kwargs) if rest or kwargs else tensor.detach()
        return OnGPU(moved.clone(memory_format=torch.preserve_format)).requires_grad_(tensor.requires_grad)

    def note(self, why: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(PACKAGE)]
        ours = [frame for frame in frames if Path(frame.filename).relative_to(PACKAGE).parts[0] == "imbdet"]
        where = ours[-1] if ours else frames[-1]
        self.waits[f"{Path(where.filename).relative_to(PACKAGE)}:{where.lineno} {where.name}: {why}"] += 1


def _note(why: str) -> None:
    if _now:
        _now[-1].note(why)
