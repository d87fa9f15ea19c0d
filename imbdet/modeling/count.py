"""Operators and host synchronizations of a piece of code: a stand-in for its overhead on a GPU, counted anywhere.

On a GPU every operator is a launch, and every one whose value or size the host needs stalls the queue.
"""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: operators whose result has a value or a shape that the host must wait for
WAITS = {
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique_dim",
    "_unique",
    "_unique2",
    "is_nonzero",
    "equal",
    "nms",
    "repeat_interleave",
}


class OperatorCount(TorchDispatchMode):
    """Use as a context: `with OperatorCount() as count: step()`, then `count.operators`, `count.synchronizations`."""

    def __init__(self):
        super().__init__()
        self.by_name: Counter[str] = Counter()
        self.synchronizations = 0

    @property
    def operators(self) -> int:
        return self.by_name.total()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        self.by_name[name] += 1
        if name in ("index", "index_put", "index_put_"):
            self.synchronizations += any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        elif name == "repeat_interleave":
            self.synchronizations += (kwargs or {}).get("output_size") is None
        else:
            self.synchronizations += name in WAITS
        return function(*args, **(kwargs or {}))


class SavedBytes:
    """Use as a context around a forward: `with SavedBytes() as saved: ...`, then `saved.total`, in bytes.

    What the forward keeps for the backward, each storage once: with the weights it makes the peak memory of a training
    step, and it is the same number on every device.
    """

    def __enter__(self) -> "SavedBytes":
        self.storages: dict[int, int] = {}
        self.alive: list[torch.Tensor] = []  # so that no address is used twice
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.hooks.__exit__(*error)
        self.alive.clear()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.storages:
            self.storages[storage.data_ptr()] = storage.nbytes()
            self.alive.append(tensor.detach())
        return tensor

    @property
    def total(self) -> int:
        return sum(self.storages.values())
