import errno
import os

import pytest

from imbdet.config.difference import judged
from imbdet.engine import run_folder


def test_a_folder_with_a_run_is_refused_unless_told(tmp_path):
    folder = tmp_path / "run"
    run_folder.prepare(folder, resume=False, overwrite=False)
    for name in ("last.pth", "metrics.jsonl", "config.yaml", "mine.txt", "model_0000004.pth"):
        (folder / name).write_text("x")
    (folder / "tb").mkdir()
    with pytest.raises(ValueError, match=r"holds a run already \(metrics.jsonl, last.pth\).*--resume.*overwrite=true"):
        run_folder.prepare(folder, resume=False, overwrite=False)
    run_folder.prepare(folder, resume=True, overwrite=False)
    assert (folder / "last.pth").exists()
    run_folder.prepare(folder, resume=False, overwrite=True)
    assert os.listdir(folder) == ["mine.txt"]  # what is not a run's stays


def test_what_a_kill_left_of_a_write_is_removed(tmp_path):
    for name in (".last.pth.123.tmp", ".model_0000004.pth.5.tmp", ".record.json.7.tmp", "last.pth"):
        (tmp_path / name).write_text("x")
    run_folder.prepare(tmp_path, resume=True, overwrite=False)
    assert sorted(os.listdir(tmp_path)) == [".record.json.7.tmp", "last.pth"]  # another's may be being written


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write .*file/run: Not a directory.*train.output_dir"):
        run_folder.prepare(tmp_path / "file" / "run", resume=False, overwrite=False)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    """The system says no; root, as whom containers run, would be let through by a mode of 0500."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(OSError, match="cannot write .*Permission denied"):
        run_folder.prepare(tmp_path / "run", resume=False, overwrite=False)


def test_differences_are_sorted_into_harmless_and_not():
    before = {
        "train": {"seed": 0, "log_period": 20, "checkpointer": {"period": 5}},
        "optimizer": {"lr": 1.0, "betas": [1, 2]},
    }
    now = {
        "train": {"seed": 1, "log_period": 10, "checkpointer": {"period": 6}},
        "optimizer": {"lr": 1.0, "betas": [1, 3], "x": 2},
    }
    forbidden, free = judged(before, now, "resume")
    assert forbidden == ["train.seed: 0 -> 1", "optimizer.betas: [1, 2] -> [1, 3]", "optimizer.x: added 2"]
    assert free == ["train.log_period: 20 -> 10", "train.checkpointer.period: 5 -> 6"]
    assert judged({"betas": (0.9, [1, (2,)])}, {"betas": [0.9, [1, [2]]]}, "resume") == (
        [],
        [],
    )  # saved and read again
    assert judged(before, before, "resume") == ([], [])
