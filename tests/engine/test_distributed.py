"""Two processes with Gloo train as one does."""

import pytest
import torch

from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.distributed import pick_device, world_of
from imbdet.engine.log import read_metrics
from tests.helpers import run_two

from .fakes import fake_config

PLAIN = ("model.noise=false", "model.batch_norm=false", "train.max_iter=8", "train.accumulate=2")


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    """A loss that is a mean over images, without batch norm and noise: the mean of two halves is the whole."""
    outputs = run_two(tmp_path / "two", *PLAIN)
    train(fake_config(tmp_path / "one", *PLAIN))
    first, second = (torch.load(tmp_path / "two" / f"rank{r}.pth", weights_only=True) for r in range(2))
    one = load_file(tmp_path / "one" / "last.pth")
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"replicas differ in {name}"
        torch.testing.assert_close(value, one["model"][name], rtol=1e-5, atol=1e-6)
    lines = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("two", "one")]
    assert [line["iteration"] for line in lines[0]] == [2, 4, 6, 8]
    assert [line["loss/total"] for line in lines[0]] == pytest.approx([line["loss/total"] for line in lines[1]])
    assert "2 processes" in outputs[0] and "loss" not in outputs[1]  # one speaks
    assert len(load_file(tmp_path / "two" / "last.pth")["rng"]) == 2
    with pytest.warns(UserWarning, match="had 2 processes and now has 1"):
        train(fake_config(tmp_path / "two", *PLAIN), resume=True)


def test_alone_nothing_is_asked_of_others():
    with world_of("cpu") as world:
        assert (world.rank, world.size, world.main) == (0, 1, True)
        assert world.gather("x") == ["x"] and world.any(True) and not world.any(False)
        model = torch.nn.Linear(1, 1)
        assert world.wrap(model) is model and world.mean_of({"a": 1.0}) == {"a": 1.0}


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="train.device is 'gpu'; use 'auto', 'cpu' or 'cuda'"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        assert pick_device("auto") == torch.device("cpu")
        with pytest.raises(ValueError, match="torch sees no GPU here"):
            pick_device("cuda")
