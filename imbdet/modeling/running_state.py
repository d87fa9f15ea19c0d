"""What a loss, weighting, matcher or normalizer remembers from step to step: one rule for all of them.

The rule: state is persistent buffers, counts are int64 or float64 (float32 stops counting at 16.7 million), they are
sums over all processes, they move once for each step in which the detector learns (however many batches are
accumulated in it), validation losses leave them alone, and a resumed training goes on bit for bit.
`tests/remedies/test_running_state.py` checks it for every remedy that has such buffers.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn


class RunningState(nn.Module):
    """A module whose buffers move with the training.

    In `forward`, `collect` notes what this batch adds; `fold` puts what a whole step collected into the buffers. A
    detector says before each batch whether it `learns` from it, and calls `end_step` when the forward of the step's
    last batch is done (`running_states`). So the weights of a batch come from the state before its step, to which a
    filler may add the batch itself.

    Example:
        >>> class Counts(RunningState):
        ...     def __init__(self, num_classes):
        ...         super().__init__()
        ...         self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))
        ...
        ...     def forward(self, labels):
        ...         now = torch.zeros_like(self.counts).index_add_(0, labels, torch.ones_like(labels))
        ...         return self.counts + self.collect(counts=now)["counts"]
        >>> state = Counts(3)
        >>> state(torch.tensor([0, 0, 2])), state.counts
        (tensor([2, 0, 1]), tensor([0, 0, 0]))
        >>> state.end_step()
        >>> state.counts
        tensor([2, 0, 1])
    """

    def __init__(self) -> None:
        super().__init__()
        self._collected: dict[str, Tensor] = {}
        self.learns = True  #: False while the loss is only looked at (validation)

    def collect(self, **now: Tensor) -> dict[str, Tensor]:
        """Note what this batch adds, without gradient, by the name that `fold` gets it under. For a mean over the
        batches and processes, collect a one beside it.

        Returns:
            The same, summed over all processes in a training; as given in a validation, which one process does alone.
        """
        now = {name: value.detach() for name, value in now.items()}
        if not (self.training and self.learns):
            return now
        now = {name: sum_over_processes(value) for name, value in now.items()}
        for name, value in now.items():
            self._collected[name] = self._collected[name] + value if name in self._collected else value.clone()
        return now

    def end_step(self) -> None:
        """Fold what was collected into the buffers; nothing if nothing was."""
        collected, self._collected = self._collected, {}
        if collected:
            with torch.no_grad():
                self.fold(**collected)

    def fold(self, *_: Any, **collected: Any) -> None:
        """Add what was collected, summed over the step's batches, to the buffers: each to the buffer of its name.
        Running means override this.
        """
        for name, value in collected.items():
            self.get_buffer(name).add_(value)


@contextlib.contextmanager
def running_states(model: nn.Module, ends_step: bool) -> Iterator[None]:
    """Wrap the forward of one batch of a training (or of a validation, without gradient).

    Args:
        ends_step: it is the last batch before the optimizer moves.
    """
    states = [module for module in model.modules() if isinstance(module, RunningState)]
    learns = torch.is_grad_enabled()
    for state in states:
        state.learns = learns
    yield
    if learns and ends_step:
        for state in states:
            state.end_step()


@contextlib.contextmanager
def standing(model: nn.Module) -> Iterator[None]:
    """Around losses that are only looked at within a step: nothing that the model remembers moves."""
    states = [module for module in model.modules() if isinstance(module, RunningState)]
    learned = [state.learns for state in states]
    for state in states:
        state.learns = False
    try:
        yield
    finally:
        for state, learns in zip(states, learned, strict=True):
            state.learns = learns


def sum_over_processes(value: Tensor) -> Tensor:
    """Return the sum of a tensor of the same shape in every process; itself where there is only one. Collective."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value
