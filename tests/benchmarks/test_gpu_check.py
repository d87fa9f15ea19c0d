"""The GPU check as far as a CPU can try it: what breaks one unit stops no other, what is compared is compared, and
every shipped config agrees with itself in another order of summation and in bfloat16.
"""

import json

import pytest
import torch

from benchmarks.gpu import __main__ as check
from benchmarks.gpu import losses, runner
from benchmarks.gpu.cases import CONFIGS, HostDraws, Proposals, detector, difference, one_step, pictures
from benchmarks.gpu.page import page
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.runner import Runner, shortfalls, skipped


@pytest.mark.slow  # starts processes that import torch
def test_what_breaks_one_unit_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "PATIENCE", 1)
    monkeypatch.setattr(runner, "STARTS", 300)
    part = Part("breaking", "Breaks", 1.0, 1, 2.0, 1, path="tests.benchmarks.breaking_part")
    seen = []
    it = Runner("cpu", True, tmp_path / "log.txt", lambda: seen.append(len(it.done["breaking"]["units"])))
    it.wave([part], 3000)
    rows = it.done["breaking"]["units"]
    assert list(rows) == ["good", "raises", "dies", "hangs", "short", "skipped", "last"] and seen == list(range(1, 8))
    assert rows["good"]["value"] == 1.5 and not rows["last"].get("short")
    assert shortfalls(it.done) == [
        "breaking: raises: ValueError: a reason",
        "breaking: dies: the process ended with code 7",
        "breaking: hangs: cut off at the limit of the unit, 2 s",
        "breaking: short: too slow",
    ]
    assert skipped(it.done) == ["breaking: needs a GPU (skipped)"]
    assert "ValueError: a reason" in (tmp_path / "log.txt").read_text()
    report = {"made": "now", "where": {"gpu": "G"}, "complete": True, "short": shortfalls(it.done), "parts": it.done}
    assert "3 of 6 without fault" not in page(report) and "2 of 6 without fault" in page(report)


def test_a_part_without_time_says_what_it_did_not_reach(tmp_path):
    part = Part("breaking", "Breaks", 1.0, 1, 2.0, 1, path="tests.benchmarks.breaking_part")
    it = Runner("cpu", True, tmp_path / "log.txt", lambda: None)
    it.wave([part], -1.0, only="*s*")
    assert shortfalls(it.done) == [
        f"breaking: {unit}: not reached within the time of the part"
        for unit in ("raises", "dies", "hangs", "short", "skipped", "last")
    ]


def test_without_a_gpu_it_says_so_and_with_faults_it_exits_with_1(tmp_path, monkeypatch, capsys):
    if not torch.cuda.is_available():
        assert check.main([]) == 2 and "no GPU" in capsys.readouterr().err
    monkeypatch.setattr(Runner, "wave", lambda self, parts, seconds, only: self.done.update(fake(parts[0].name)))
    assert check.main(["--device", "cpu", "--parts", "waits", "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "gpu_check.json").read_text())
    assert report["short"] == ["waits: a: bad"] and report["complete"]
    text = (tmp_path / "gpu_check.md").read_text()
    assert "- waits: a: bad" in text and "`imbdet/x.py:3 f`" in text and "0 of 1 without fault" in text


def fake(name):
    row = {"short": ["bad"], "waits": 2, "places": {"imbdet/x.py:3 f": 2}}
    return {name: {"title": "T", "seconds": 1.0, "units": {"a": row}}}


def test_every_part_names_its_units():
    for part in PARTS:
        for small in (True, False):
            units = part.module.units(small)
            assert units and len(set(units)) == len(units), part.name
    assert set(CONFIGS) == set(losses.units(False))


def test_difference_by_hand():
    """1.01 for 1 and 0.2 for 0.1: one hundredth, and one whole; 0.002 for 0 counts against a hundredth of the sum."""
    assert difference({"a": 1.01}, {"a": 1.0}) == pytest.approx(0.01)
    assert difference({"a": 1.01, "b": 0.2}, {"a": 1.0, "b": 0.1}) == pytest.approx(1.0)
    assert difference({"a": 1.0, "b": 0.002}, {"a": 1.0, "b": 0.0}) == pytest.approx(0.2)
    nan = float("nan")
    assert difference({"a": nan}, {"a": 1.0}) == difference({}, {"a": 1.0}) == float("inf")


def test_draws_are_those_of_the_cpu_in_every_form():
    like = torch.zeros(3, dtype=torch.float64)
    torch.manual_seed(0)
    plain = torch.rand(3), torch.rand_like(like), torch.empty(3).exponential_(), torch.randperm(5)
    torch.manual_seed(0)
    with HostDraws():
        drawn = torch.rand(3, device="cpu"), torch.rand_like(like), torch.empty(3).exponential_(), torch.randperm(5)
        moved = torch.rand(3, device="meta")
    assert all(torch.equal(a, b) for a, b in zip(plain, drawn, strict=True))
    assert moved.device.type == "meta" and drawn[1].dtype == torch.float64


def test_later_forwards_get_the_proposals_of_the_first_and_say_how_many_they_found():
    model, given, proposals = detector("baselines/faster_rcnn_shapes", True), pictures(), Proposals()
    first, _ = one_step(model, given, proposals, record=True)
    again, _ = one_step(model, given, proposals, record=False)
    assert again == first and proposals.same == 1.0
    with torch.no_grad():
        model.rpn.head.anchor_deltas.bias += 0.5
    moved, _ = one_step(model, given, proposals, record=False)
    assert proposals.same < 0.5 and moved["loss_cls"] == pytest.approx(first["loss_cls"], rel=1e-4)
    assert moved["loss_rpn_loc"] != first["loss_rpn_loc"]


def agrees(name):
    row = losses.run(name, "cpu", True)
    assert row["short"] == []
    assert row["float32"] <= losses.FLOAT32 and 0 < row["bfloat16"] <= losses.MIXED_OF.get(name, losses.MIXED)


def test_losses_agree_in_another_order_and_in_bfloat16():
    agrees("baselines/retinanet_shapes")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_of_every_config_agree_in_another_order_and_in_bfloat16(name):
    agrees(name)
