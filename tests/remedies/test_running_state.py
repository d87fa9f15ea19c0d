"""The rule for what remedies remember (`imbdet/modeling/running_state.py`), on every remedy that remembers something.

Found are modules with buffers in the state dict, or with a state of their own (`get_extra_state`); batch norms have
their own rule, and fixed tables are not in the state dict.
"""

import pytest
import torch

from imbdet.modeling import running_state
from imbdet.modeling.running_state import RunningState
from tests.helpers import run_two

from .state_checks import build, candidates, losses, same, snapshot, stateful, states_after

#: class of a stateful module -> why it keeps no RunningState
OTHER_STATE = {
    "Phases": "counts batches on the host, so that nobody waits for the device; only `begin_step` moves it",
}
#: class -> why its buffers are float32
FLOAT32 = {
    "ForegroundAverage": "a moving mean of at most some thousands, in detectron2's precision",
    "GHMC": "moving means of counts of one batch, far below 2^24",
    "GHMR": "moving means of counts of one batch, far below 2^24",
}
#: remedy -> why its state is the same whatever other processes see
SEES_NOTHING = {"ldam": "counts steps, for the deferred weights"}


@pytest.mark.parametrize("remedy", candidates("RunningState", "register_buffer", "extra_state"))
def test_state_is_a_running_state_of_enough_digits(remedy):
    for name, module in stateful(build(remedy)).items():
        kind = type(module).__name__
        if not isinstance(module, RunningState):
            assert OTHER_STATE.get(kind), f"{name}: {kind} has buffers in the state dict but is no RunningState"
            continue
        for key, value in module.named_buffers(recurse=False):
            if key in module._non_persistent_buffers_set:
                continue
            enough = value.dtype in (torch.int64, torch.float64) or FLOAT32.get(kind)
            assert enough, f"{name}.{key} is {value.dtype}: counts are int64 or float64"


@pytest.fixture(params=candidates("RunningState"), ids=lambda name: name or "retinanet")
def remedy(request):
    return request.param


def test_it_moves_once_a_step_and_never_in_a_validation(remedy):
    model = build(remedy)
    model.accumulate = 2
    before = snapshot(model)
    losses(model, 1)
    assert same(before, snapshot(model)), "moved before the step ended"
    losses(model, 2)
    after = snapshot(model)
    assert not same(before, after), "nothing moved in a step"
    with torch.no_grad():
        losses(model, 3), losses(model, 4)
    assert same(after, snapshot(model)), "a validation loss moved it"


def test_it_is_summed_over_the_processes(remedy, monkeypatch):
    """Every process sends as much, and none in a validation, which one process does alone."""
    sent = []

    def twice(value):
        sent.append(value)
        return 2 * value

    monkeypatch.setattr(running_state, "sum_over_processes", twice)
    model = build(remedy)
    with torch.no_grad():
        losses(model, 1)
    assert not sent
    losses(model, 1)
    assert sent and all(not value.requires_grad for value in sent)


def test_a_resumed_training_is_the_same(remedy):
    model, again = build(remedy), build(remedy)
    for seed in (1, 2):
        sum(losses(model, seed).values()).backward()
    again.load_state_dict(model.state_dict())
    next_losses = [losses(one, 3) for one in (model, again)]
    assert same(*next_losses) and same(snapshot(model), snapshot(again))


@pytest.mark.slow
def test_two_processes_remember_the_same(tmp_path):
    """All of them in one pair of processes, over gloo: equal bit for bit, and not what one process alone would have."""
    run_two(tmp_path, module="tests.remedies.state_checks", timeout=600)
    first, second = (torch.load(tmp_path / f"rank{rank}.pth", weights_only=True) for rank in range(2))
    alone = states_after(2, 0)
    assert first.keys() == second.keys() == alone.keys() and len(alone) > 10
    assert all(first[name] and first[name].keys() == second[name].keys() for name in first)
    apart = [name for name in first if not same(first[name], second[name])]
    assert not apart, f"the processes remember different things: {apart}"
    blind = {name for name in first if same(first[name], alone[name])}
    assert blind == set(SEES_NOTHING), "what the other process saw must be in it"
