import json
import warnings

import pytest
import torch

from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.environment import computes_bfloat16
from imbdet.engine.log import read_metrics
from imbdet.engine.meters import NonFiniteLoss

from .fakes import FakeDetector, FakeLoader, fake_config


def weights(folder, name="last.pth"):
    return load_file(folder / name)["model"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_writes_its_folder(tmp_path):
    result = train(fake_config(tmp_path / "run"))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("config.yaml", "environment.json", "metrics.jsonl", "result.json", "last.pth", "last_prev.pth"),
        *("model_0000008.pth", "model_0000012.pth"),
    }
    assert result["iteration"] == 12 and json.loads((tmp_path / "run" / "result.json").read_text()) == result
    assert load_file(tmp_path / "run" / "last.pth")["ema"]["updates"] == 12
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["iteration"] for line in lines] == [2, 4, 6, 8, 10, 12]
    wanted = {"loss/total", "loss/box", "loss/size", "lr", "gradient_norm", "time/step", "time/images_per_second"}
    assert wanted <= lines[0].keys() and lines[0]["loss/total"] == pytest.approx(
        lines[0]["loss/box"] + lines[0]["loss/size"]
    )
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (
        environment["seed"] == 3
        and environment["threads"] == 1
        and torch.__version__.startswith(environment["packages"]["torch"])
    )


def test_the_loop_equals_a_plain_one(tmp_path):
    """Three steps written out: the loop adds nothing to the arithmetic."""
    cfg = fake_config(tmp_path, "train.max_iter=3", "train.ema.enabled=false", "train.clip_grad.max_norm=0")
    cfg.lr_multiplier.num_updates = None
    cfg.lr_multiplier.warmup_length = 0.0
    train(cfg)
    torch.manual_seed(3)
    model = FakeDetector()
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW(
        [
            {"params": [*model.first.parameters(), *model.head.parameters()]},
            {"params": model.norm.parameters(), "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    batches = FakeLoader(seed=3).iterate()
    for k in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * k / 3, dtype=torch.float64)).item())
        losses, _ = model(*next(batches))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    for name, value in weights(tmp_path).items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-5, atol=1e-7)


def test_accumulation_equals_the_larger_batch(tmp_path):
    """Without noise and batch norm, the mean of two batches of 4 is the batch of 8 images that holds both."""
    off = ("model.noise=false", "model.batch_norm=false", "train.max_iter=2")

    class Joined(FakeLoader):
        def iterate(self, start=0, rank=0, world_size=1):
            single = super().iterate(2 * start, rank, world_size)
            while True:
                (a, b), (c, d) = next(single), next(single)
                yield a + c, b + d

    train(fake_config(tmp_path / "two", *off, "train.accumulate=2"))
    cfg = fake_config(tmp_path / "one", *off)
    globals()["Joined"] = Joined
    Joined.__qualname__ = "Joined"
    cfg.dataloader.train._target_ = f"{__name__}.Joined"
    train(cfg)
    for name, value in weights(tmp_path / "two").items():
        torch.testing.assert_close(value, weights(tmp_path / "one")[name], rtol=1e-5, atol=1e-6)


def test_rate_is_scaled_with_the_batch_and_it_is_said(tmp_path, capsys):
    train(fake_config(tmp_path, "train.max_iter=1", "train.reference_batch=16", "train.accumulate=2"))
    assert (
        "learning rate x 0.5 by the linear scaling rule: 8 images a step, written for 16; now 0.005"
        in capsys.readouterr().out
    )


def test_a_resume_of_nothing_starts_and_a_second_run_is_refused(tmp_path, capsys):
    cfg = fake_config(tmp_path, "train.max_iter=2")
    train(cfg, resume=True)
    assert "starting from the beginning" in capsys.readouterr().out
    with pytest.raises(ValueError, match="holds a run already"):
        train(cfg)
    cfg.train.overwrite = True
    assert train(cfg)["iteration"] == 2


def test_a_changed_config_is_refused(tmp_path, capsys):
    train(fake_config(tmp_path, "train.max_iter=2"))
    with pytest.raises(ValueError, match="optimizer.lr: 0.01 -> 0.02"):
        train(fake_config(tmp_path, "train.max_iter=2", "optimizer.lr=0.02"), resume=True)
    with pytest.raises(ValueError, match="train.max_iter: 2 -> 4"):
        train(fake_config(tmp_path, "train.max_iter=4"), resume=True)
    train(fake_config(tmp_path, "train.max_iter=2", "train.log_period=1"), resume=True)
    assert "changed since the run began: train.log_period: 2 -> 1" in capsys.readouterr().out


def test_a_nan_stops_before_it_reaches_a_checkpoint(tmp_path):
    with pytest.raises(NonFiniteLoss, match="iteration 6"):
        train(fake_config(tmp_path, "model.poison_at=6"))
    assert load_file(tmp_path / "last.pth")["iteration"] == 4


def test_init_checkpoint_takes_weights_only(tmp_path):
    train(fake_config(tmp_path / "a", "train.ema.enabled=false"))
    train(
        fake_config(
            tmp_path / "b", f"train.init_checkpoint={tmp_path / 'a' / 'last.pth'}", "train.max_iter=1", "optimizer.lr=0"
        )
    )
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert torch.equal(a["head.weight"], b["head.weight"])
    with pytest.raises(ValueError, match="does not fit FakeDetector"):
        train(fake_config(tmp_path / "c", f"train.init_checkpoint={tmp_path / 'a' / 'last.pth'}", "model.channels=5"))


@pytest.mark.parametrize("dtype, there, warned", [("float16", True, 1), ("bfloat16", True, 0), ("bfloat16", False, 1)])
def test_mixed_precision_runs_and_warns_on_a_cpu_without_the_arithmetic(tmp_path, monkeypatch, dtype, there, warned):
    monkeypatch.setattr("imbdet.engine.build.computes_bfloat16", lambda: there)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train(fake_config(tmp_path, "train.amp.enabled=true", f"train.amp.dtype={dtype}", "train.max_iter=2"))
    assert sum("train.amp.enabled is a switch for GPUs" in str(one.message) for one in found) == warned
    assert weights(tmp_path)["head.weight"].dtype == torch.float32
    assert bool(load_file(tmp_path / "last.pth")["scaler"]) == (dtype == "float16")  # its losses are scaled


@pytest.mark.parametrize(
    "flags, there", [("avx512f avx512_bf16", True), ("amx_bf16 avx2", True), ("avx2 avx512f", False)]
)
def test_the_processor_says_whether_it_computes_bfloat16(tmp_path, monkeypatch, capsys, flags, there):
    (tmp_path / "cpuinfo").write_text(f"model name\t: Some\nflags\t\t: fpu {flags}\n")
    found = computes_bfloat16(tmp_path / "cpuinfo")
    assert found == there and not computes_bfloat16(tmp_path / "nothing")
    monkeypatch.setattr("imbdet.engine.summary.computes_bfloat16", lambda: found)
    train(fake_config(tmp_path / "run", "train.max_iter=1"))
    assert ("this processor computes bfloat16" in capsys.readouterr().out) == there


@pytest.mark.parametrize("limit, share", [(1e-6, 1.0), (1e6, 0.0), (0, None)])
def test_how_often_gradients_were_clipped_is_logged_and_stands_in_the_result(tmp_path, limit, share):
    result = train(fake_config(tmp_path, "train.max_iter=4", f"train.clip_grad.max_norm={limit}"))
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line.get("clipped_share") for line in lines] == [share] * 2 and result["clipped_share"] == share
