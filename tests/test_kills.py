"""`kill -9` at random moments of training, evaluation, a grid and its report: all go on, no half file is read."""

import json
import random
import time

import pytest
import torch

from imbdet.commands import run
from imbdet.compare.executors import Process
from imbdet.compare.results import locked, read_results
from imbdet.config import load_config
from imbdet.engine.checkpoint import damage, load_file
from imbdet.runs import read_metrics
from tests.compare.conftest import COST, tiny

pytestmark = pytest.mark.slow


def do(argv):
    raise SystemExit(run(argv[0], [str(word) for word in argv[1:]]))


def start(argv, log):
    return Process(do, (argv,), log)


def begin(argv, log):
    """Run to the end twice, as the first starts the server that forks; the seconds of the second."""
    finish(argv, log)
    return finish(argv, log)


def finish(argv, log):
    """Run to the end; the seconds it took."""
    began = time.monotonic()
    assert start(argv, log).wait(300) == 0, log.read_text()
    return time.monotonic() - began


def kill(argv, log, after):
    """Whether it was still running after so many seconds, and was killed."""
    process = start(argv, log)
    process.wait(after)
    process.kill()
    assert process.exitcode in (0, -9), log.read_text()
    return process.exitcode == -9


def check_files(root):
    """Every file under `root` that has its final name is whole; how many there are."""
    checked = 0
    for path in root.rglob("*"):
        if path.name.endswith(".tmp") or not path.is_file():
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pth":
            assert damage(path) is None, path
            load_file(path)
        elif path.name == "metrics.jsonl":
            lines = path.read_text().splitlines()
            assert len(read_metrics(path)) >= len(lines) - 1
        elif path.suffix == ".yaml":
            load_config(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        else:
            continue
        checked += 1
    return checked


def test_training(tmp_path):
    """Eight kills; in the end every weight is that of the training that nobody killed."""
    rng, kills, checked = random.Random(1), 0, 0

    def argv(name, *more):
        return ["train", "--config", tiny(), f"train.output_dir={tmp_path / name}", *more]

    seconds = begin(argv("whole", "train.overwrite=true"), tmp_path / "log.txt")
    wanted = load_file(tmp_path / "whole" / "last.pth")
    for attempt in range(40):
        name = f"run{attempt}"
        (tmp_path / name).mkdir()
        for _ in range(3):
            kills += kill(argv(name, "--resume"), tmp_path / name / "log.txt", rng.uniform(0.4, 1) * seconds)
            checked += check_files(tmp_path / name)
        finish(argv(name, "--resume"), tmp_path / name / "log.txt")
        found = load_file(tmp_path / name / "last.pth")
        assert found["iteration"] == wanted["iteration"]
        assert all(torch.equal(found["model"][key], value) for key, value in wanted["model"].items())
        if kills >= 8:
            break
    assert kills >= 8 and checked > 0


def test_evaluation(tmp_path):
    rng, kills = random.Random(2), 0
    finish(["train", "--config", tiny(), f"train.output_dir={tmp_path / 'run'}"], tmp_path / "log.txt")
    out, found = tmp_path / "metrics.json", tmp_path / "found.json"
    argv = ["evaluate", "--run", tmp_path / "run", "--out", out, "--save-detections", found]
    seconds = begin(argv, tmp_path / "log.txt")
    wanted = out.read_bytes(), found.read_bytes()
    while kills < 4:
        kills += kill(argv, tmp_path / "log.txt", rng.uniform(0.05, 1) * seconds)
        assert check_files(tmp_path) >= 3
    finish(argv, tmp_path / "log.txt")
    assert (out.read_bytes(), found.read_bytes()) == wanted


def test_grid_and_report(tmp_path):
    """Four kills of the grid's leader, each waited for by its cell, and four of a report of what it ran."""
    rng, kills, root = random.Random(3), 0, tmp_path / "grid"
    argv = ["compare", "--config", tiny(), "--remedy", "focal_loss", "--seeds", "2", "--no-controls", "--out"]

    def folder(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "probe.json").write_text(json.dumps(COST))
        return tmp_path / name

    seconds = finish([*argv, folder("whole")], tmp_path / "log.txt")
    folder("grid")
    while kills < 4:
        killed = kill([*argv, root], tmp_path / "log.txt", rng.uniform(0.1, 0.6) * seconds)
        kills += killed
        for cell in root.glob("runs/*/*"):
            with locked(cell / ".lock", 60, "a cell did not notice that its leader is gone"):
                pass
        check_files(root)
        if not killed:
            root = folder(f"grid{kills}{time.monotonic_ns()}")
    finish([*argv, root], tmp_path / "log.txt")
    results = [{(r.arm, r.seed): r.metrics for r in read_results(place)} for place in (tmp_path / "whole", root)]
    assert results[0] == results[1] and len(results[0]) == 4

    report = ["compare", "--runs", tmp_path / "whole", "--out", tmp_path / "report"]
    seconds, kills = begin(report, tmp_path / "log.txt"), 0
    while kills < 4:
        kills += kill(report, tmp_path / "log.txt", rng.uniform(0.05, 1) * seconds)
        assert check_files(tmp_path / "report") >= 1
    finish(report, tmp_path / "log.txt")
    assert check_files(tmp_path / "report") >= 2
