import random

import numpy as np
import pytest
import torch
from torch import nn

from imbdet.engine.ema import ModelEma
from imbdet.engine.seed import preserved_rng, rng_state, seed_everything, set_rng_state


def draw():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random(), np.random.randn()


def test_generators_come_back_from_a_checkpoint(tmp_path):
    seed_everything(5)
    np.random.randn()  # leaves a second normal number in the generator's state
    torch.save(rng_state(), tmp_path / "rng.pth")
    first = draw()
    set_rng_state(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert draw() == first
    seed_everything(5, rank=1)
    assert draw() != first


def test_what_is_drawn_inside_leaves_no_trace():
    seed_everything(5)
    plain = draw()
    seed_everything(5)
    with preserved_rng(9):
        inside = draw()
    assert draw() == plain
    with preserved_rng(9):
        assert draw() == inside


def test_a_run_needs_a_seed():
    with pytest.raises(ValueError, match="train.seed is -1"):
        seed_everything(-1)


def test_average_by_hand():
    """decay(t) = min(0.5, (1 + t) / (10 + t)): 2/11 and 3/12; weights 0, then 1, then 2.

    shadow: 0 -> 2/11 * 0 + 9/11 * 1 = 9/11 -> 3/12 * 9/11 + 9/12 * 2.
    """
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = ModelEma(model, 0.5)
    for value in (1.0, 2.0):
        nn.init.constant_(model.weight, value)
        ema.update()
    wanted = 3 / 12 * 9 / 11 + 9 / 12 * 2
    assert ema.shadow[0].item() == pytest.approx(wanted)
    with ema.applied():
        assert model.weight.item() == pytest.approx(wanted)
    assert model.weight.item() == 2.0

    other = ModelEma(nn.Linear(1, 1, bias=False), 0.5)
    other.load_state_dict(ema.state_dict())
    assert torch.equal(other.shadow[0], ema.shadow[0]) and other.updates == 2


def test_decay_out_of_range():
    with pytest.raises(ValueError, match="train.ema.decay is 1.0"):
        ModelEma(nn.Linear(1, 1), 1.0)
