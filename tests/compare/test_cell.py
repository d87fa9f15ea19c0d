"""One run: what it leaves behind when it finishes, when it fails, and when it is called again."""

import json

import pytest
import torch

from imbdet.compare import run
from imbdet.compare.results import cost_of, read_record, read_results
from imbdet.compare.run import is_out_of_memory, reason_of, run_cell
from imbdet.compare.structures import Arm, run_folder
from imbdet.config import load_config
from imbdet.engine.checkpoint import load_file
from imbdet.engine.meters import NonFiniteLoss
from imbdet.engine.trained import evaluate_checkpoint
from imbdet.runs import DETECTIONS

from .conftest import begin, remedy_file, tiny_plan


def test_a_finished_run_leaves_its_record_and_its_detections(finished_grid):
    records = read_results(finished_grid)
    assert [(r.arm, r.seed, r.status, r.folder) for r in records] == [
        ("baseline", 0, "finished", "runs/baseline/seed_0"),
        ("focal_loss", 0, "finished", "runs/focal_loss/seed_0"),
    ]
    for record in records:
        folder = finished_grid / record.folder
        cfg = load_config(folder)
        result, detections = evaluate_checkpoint(cfg, folder / "last.pth", "val")
        rows = json.loads((folder / DETECTIONS).read_text())
        assert len(rows) > 100 and rows == detections.to_coco([row["category_id"] for row in result.per_class])
        assert record.per_class == json.loads(json.dumps(result.per_class))
        assert record.metrics == {k: None if v == -1 else v for k, v in result.metrics.items()}
        assert None in record.metrics.values() and "APr" in record.metrics
        assert record.cost["iterations"] == 20 and record.cost["step_seconds"] > 0
        assert record.cost["parameters"] > 1000 and record.cost["peak_memory_mib"] > 10
    assert records[1].remedies == ["focal_loss"] and records[1].overrides == ["train.tensorboard=true"]


def test_both_arms_began_with_the_same_weights(finished_grid):
    """20 steps later they are still close, where two seeds of one arm are not."""
    configs = [load_config(finished_grid / "runs" / arm / "seed_0") for arm in ("baseline", "focal_loss")]
    assert [cfg.train.init_shared for cfg in configs] == [str(finished_grid / "init" / "seed_0.pth")] * 2
    states = [load_file(finished_grid / "runs" / arm / "seed_0" / "last.pth") for arm in ("baseline", "focal_loss")]
    name = "backbone.stem.0.weight"
    began = load_file(finished_grid / "init" / "seed_0.pth")["model"][name]
    a, b = (state["model"][name] for state in states)
    assert not torch.equal(a, b) and (a - b).norm() < 0.3 * began.norm()


def test_a_finished_run_is_not_run_again(finished_grid, monkeypatch):
    monkeypatch.setattr(run, "_work", lambda *_: pytest.fail("it was run again"))
    assert run_cell(finished_grid, "baseline", 0) == read_results(finished_grid)[0]
    with pytest.raises(SystemExit) as left:
        run.enter(str(finished_grid), "baseline", 0)
    assert left.value.code == 0


def test_only_the_last_weights_are_kept(finished_grid):
    folder = finished_grid / "runs" / "baseline" / "seed_0"
    assert {path.name for path in folder.glob("*.pth")} == {"last.pth", "best.pth"}


@pytest.mark.parametrize(
    ("top", "body", "reason"),
    [
        ("", "cfg.model.preprocess.std = [1e-38] * 3", "diverged: the loss is not finite at iteration 1: "),
        ("", "cfg.model.anchors.sizes = [[16]]", "refused: "),
        (
            "from imbdet.config import LazyCall as L\n",
            "cfg.model.calibration = L('tests.compare.test_cell.Hungry')()",
            "out of memory: model.calibration: ",
        ),
        (
            "from imbdet.config import LazyCall as L\n",
            "cfg.model.calibration = L('tests.compare.test_cell.Broken')()",
            "refused: model.calibration: tests.compare.test_cell.Broken",
        ),
    ],
)
def test_a_failure_is_a_record_with_its_reason(tmp_path, top, body, reason):
    path = remedy_file(tmp_path, "broken", body, top)
    root = begin(tiny_plan(Arm("broken", (str(path),))), tmp_path / "out")
    with pytest.raises(SystemExit) as left:
        run.enter(str(root), "broken", 0)
    assert left.value.code == run.FAILED
    record = read_record(root / run_folder("broken", 0))
    assert record.status == "failed" and record.reason.startswith(reason) and "\n" not in record.reason, record.reason
    assert record.remedies == [str(path)] and not record.metrics


class Hungry:
    def __init__(self):
        raise MemoryError("no room")


class Broken:
    def __init__(self):
        raise KeyError("defect")


def test_reasons():
    assert reason_of(NonFiniteLoss(3, {"cls": float("nan")}, [1])) == (
        "diverged: the loss is not finite at iteration 3: cls nan"
    )
    assert reason_of(MemoryError()) == "out of memory: MemoryError"
    assert reason_of(OSError(28, "No space left on device")).startswith("refused: ")
    assert reason_of(KeyError("x")) == "error: KeyError: 'x'"
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        except RuntimeError as error:
            raise RuntimeError("model.backbone: RuntimeError") from error
    except RuntimeError as error:
        assert is_out_of_memory(error)
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))


def test_the_cost_by_hand(tmp_path):
    """Windows of 10 and 5 steps at 0.2 and 0.4 s: 4 s, and a median of 0.3."""
    lines = [(10, "train", 0.2, 100.0), (10, "val", 9.0, 999.0), (15, "train", 0.4, 120.0)]
    text = [{"iteration": i, "split": s, "time/step": t, "memory/MiB": m} for i, s, t, m in lines]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in text))
    cost = cost_of(tmp_path, 15)
    assert cost == {"iterations": 15, "seconds": 4.0, "step_seconds": pytest.approx(0.3), "peak_memory_mib": 120.0}
