"""A run folder is read as it was written, a missing file is empty, a damaged one is named; whole writes."""

import json
import os

import pytest

from imbdet.runs import BEST, METRICS, RunFolder, read_json
from imbdet.write import WriteError, write_json, write_whole


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text("train: {max_iter: 7}\n")
    (tmp_path / "result.json").write_text(json.dumps({"iteration": 7, "evaluation": {"AP": 0.25}}))
    (tmp_path / METRICS).write_text('{"iteration": 1, "split": "train"}\n{"iteration": 2, "spl')
    (tmp_path / "last.pth").write_bytes(b"x")
    return RunFolder(tmp_path)


def test_what_is_there_is_read(run):
    assert run.config().train.max_iter == 7 and run.config(overrides=["train.max_iter=9"]).train.max_iter == 9
    assert run.result()["iteration"] == 7 and run.evaluation() == {"AP": 0.25}
    assert run.metrics() == [{"iteration": 1, "split": "train"}]  # a kill has cut the second line
    assert run.checkpoint() == run.checkpoint("last") == run.path / "last.pth"
    (run / BEST).write_bytes(b"y")
    assert run.checkpoint() == run / "best.pth"
    assert [path.name for path in run.files()] == ["config.yaml", METRICS, "result.json", "last.pth", "best.pth"]


def test_what_is_missing_is_empty(tmp_path):
    run = RunFolder(str(tmp_path))
    assert (run.result(), run.environment(), run.metrics(), run.config_text(), run.files()) == ({}, {}, [], "", [])
    assert run.evaluation() == {}


def test_what_cannot_be_used_is_named(run):
    with pytest.raises(FileNotFoundError, match="holds no best.pth; it has last.pth"):
        run.checkpoint("best")
    with pytest.raises(FileNotFoundError, match="is not a run: it holds no config.yaml; there are runs at .*"):
        RunFolder(run.path.parent).checked()
    with pytest.raises(FileNotFoundError, match="no run at .*nowhere"):
        RunFolder(run / "nowhere").checked()
    for text in ("{", "[1]", b"\xff\xfe"):
        (run / "result.json").write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ValueError, match="result.json (is not valid JSON|holds a list)"):
            run.result()


def test_a_write_is_whole_or_nothing(tmp_path):
    path = tmp_path / "folder" / "value.json"
    assert read_json(write_json(path, {"a": 0.1, "path": path})) == {"a": 0.1, "path": str(path)}
    write_whole(path, "text\n", former=tmp_path / "former")
    assert path.read_bytes() == b"text\n" and read_json(tmp_path / "former")["a"] == 0.1

    def half(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="cannot write .*value.json: No space left.*The value.json of before is unt"):
        write_whole(path, half)
    assert path.read_bytes() == b"text\n" and os.listdir(path.parent) == ["value.json"]
