"""A grid that is small enough to be run: 32 pictures of 64 pixels, a RetinaNet of a few thousand parameters."""

import atexit
import platform
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from imbdet.compare import executors
from imbdet.compare.judge import compare_runs
from imbdet.compare.results import append_result, keep_base, write_plan
from imbdet.compare.run import run_cell
from imbdet.compare.structures import BASELINE, Arm, ArmResult, Comparison, Plan
from imbdet.config import load_config, save_config, trust
from imbdet.evaluation.significance import Difference

from . import fabricated

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:  # configs name objects of these tests
    sys.path.insert(0, ROOT)

# Which copy of the package runs is no question here, and few processes of these tests need torch.
executors.PRELOADED = ["imbdet.compare.executors"]

BASE = "baselines/retinanet_shapes"
WORDS = (
    "train.max_iter=20",
    "train.eval_period=0",
    "train.num_threads=1",
    "train.tensorboard=false",
    "train.val_pictures=0",
    "train.val_loss_batches=1",
    "train.checkpointer.period=5",
    "train.log_period=5",
    "train.device=cpu",
    "data.train.num_images=32",
    "data.train.image_size=64",
    "data.val.num_images=8",
    "data.val.image_size=64",
    "dataloader.train.num_workers=0",
    "dataloader.train.batch_size=2",
    "dataloader.val.num_workers=0",
    "model.backbone.widths=[8,8,8,8,8]",
    "model.neck.channels=8",
    "model.convs=1",
    "model.score_threshold=0.0001",  # there are detections after 20 steps
)


#: what a probe of the tiny config may have found on this machine
COST = {
    "machine": platform.node(),
    "begin_seconds": 1.0,
    "step_seconds": 0.05,
    "evaluation_seconds": 0.1,
    "state_bytes": 200_000,
    "weights_bytes": 100_000,
    "device": "cpu",
    "processor": "",
    "threads": 1,
    "data": {"train": "a", "val": "b"},
    "versions": {"torch": torch.__version__, "torchvision": "", "hotcoco": ""},
    "images": {"train": 32, "val": 8},
    "batch": 2,
}
FOCAL = Arm("focal_loss", ("focal_loss",))


@cache
def tiny() -> str:
    """The path of the tiny config: one file, which loads sooner than the parts that it is made of."""
    folder = tempfile.mkdtemp(prefix="imbdet-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    save_config(load_config(BASE, (), WORDS), Path(folder) / "tiny.yaml")
    return str(Path(folder).resolve() / "tiny.yaml")


def tiny_plan(*arms, seeds=(0,), **changes):
    """The baseline and `arms` on the tiny config."""
    return replace(Plan(tiny(), (Arm(BASELINE), *arms), tuple(seeds)), **changes)


def begin(plan, root):
    """What a comparison's folder holds before its first run."""
    root.mkdir(exist_ok=True)
    write_plan(plan, root)
    keep_base(plan, root)
    return root


def remedy_file(folder, name, body, top=""):
    """A remedy outside of the package: the lines of its apply(cfg), and others at the top of the file."""
    path = folder / f"{name}.py"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(f'"""A remedy for tests."""\n{top}\nbaseline = "{BASE}"\n\n\ndef apply(cfg):\n{lines}')
    trust(str(path))  # as a command does with what it names
    return path


@pytest.fixture(scope="session")
def finished_grid(tmp_path_factory):
    """A comparison's folder with one seed of the baseline and of focal loss, run here, with TensorBoard's events; it is
    to be read, not changed."""
    plan = tiny_plan(FOCAL, overrides=("train.tensorboard=true",))
    root = begin(plan, tmp_path_factory.mktemp("comparison") / "grid")
    for arm, seed in plan.cells():
        append_result(root, run_cell(root, arm, seed))
    return root


@pytest.fixture(scope="session")
def judged_root(tmp_path_factory):
    """The folder of `cells`; nobody writes to it but what is measured there."""
    return tmp_path_factory.mktemp("judged")


@pytest.fixture(scope="session")
def cells(judged_root):
    """Records of a grid whose answer is known; no training."""
    return fabricated.grid(judged_root)


@pytest.fixture(scope="session")
def comparison(judged_root, cells):
    return compare_runs(fabricated.plan(), cells, judged_root, draws=fabricated.DRAWS)


@pytest.fixture
def judged_copy(comparison, judged_root, tmp_path):
    """A copy of the grid with all that was measured, which the test may change."""
    return Path(shutil.copytree(judged_root, tmp_path / "grid"))


@pytest.fixture
def reports(monkeypatch):
    """Stand-ins for the analysis and the report; the list of what they were given."""
    given = []

    def judge(plan, records, root):
        given.append((plan, records, root))
        arms = [ArmResult(arm, seeds=list(plan.seeds), means={"AP": 0.25}) for arm in plan.arms]
        for result in arms[1:]:
            result.differences["AP"] = Difference(
                "AP", 0.012, -0.01, 0.034, 0.8, 0.3, 0.3, 0.01, 0.005, "no evidence", 9
            )
        return Comparison("toy", plan.config, arms, list(plan.seeds))

    def write_comparison(comparison, out_dir):
        (out_dir / "report.md").write_text(comparison.title)
        return {"md": out_dir / "report.md"}

    monkeypatch.setattr("imbdet.compare.compare_runs", judge)
    monkeypatch.setattr("imbdet.report.comparison.write_comparison", write_comparison)
    return given
