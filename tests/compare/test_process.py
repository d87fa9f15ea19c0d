import os
import signal
import time

import pytest

from imbdet.compare.executors import Process


def twice(number):
    print("working on", number)
    return 2 * number


def fail(text):
    raise ValueError(text)


def leave(code):
    raise SystemExit(code)


def tell(name):
    return os.environ.get(name), os.getcwd(), os.getsid(0) == os.getpid()


def wait_for(path):
    def stop(*_):
        path.write_text("asked to stop")
        leave(7)

    signal.signal(signal.SIGTERM, stop)
    path.touch()
    time.sleep(120)


def ask(path, inner):
    """Start another process and stay with it."""
    started = Process(wait_for, (inner,), path)
    started.wait()


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_answer_and_what_was_printed(tmp_path):
    process = Process(twice, (21,), tmp_path / "new" / "log.txt")
    assert process.answer() == 42 and process.exitcode == 0
    Process(twice, (1,), tmp_path / "new" / "log.txt").wait()
    assert (tmp_path / "new" / "log.txt").read_text() == "working on 21\nworking on 1\n"


def test_an_error_is_told_in_its_last_line_and_logged_whole(tmp_path):
    process = Process(fail, ("no such thing\nmore",), tmp_path / "log.txt")
    with pytest.raises(RuntimeError, match="^no such thing$"):
        process.answer()
    assert process.exitcode == 1 and "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_code(tmp_path):
    process = Process(leave, (3,), tmp_path / "log.txt")
    assert process.wait() == 3
    with pytest.raises(RuntimeError, match="ended with code 3 and no answer"):
        process.answer()


def test_its_environment_folder_and_session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOLD", "outside")
    told = Process(tell, ("TOLD",), tmp_path / "log.txt", {"TOLD": "inside"}).answer()
    assert told == ("inside", str(tmp_path), True)


def test_the_gpus_are_those_of_the_parent_by_now(tmp_path, monkeypatch):
    """Not those it had when the server of processes began, as in a worker of Ray that gets another GPU."""
    for visible in ("3", "1,2", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert Process(tell, ("CUDA_VISIBLE_DEVICES",), tmp_path / "log.txt").answer()[0] == visible


def test_a_signal(tmp_path):
    process = Process(wait_for, (tmp_path / "there",), tmp_path / "log.txt")
    until((tmp_path / "there").exists)
    process.stop()
    assert process.wait(60) == 7
    other = Process(time.sleep, (60,), tmp_path / "log.txt")
    other.kill()
    assert other.exitcode == -signal.SIGKILL
    other.stop()  # of one that has ended: nothing


@pytest.mark.slow  # the parent starts a server of its own
def test_it_ends_when_its_parent_is_killed(tmp_path):
    """kill -9 to the one that asked; the process hears of it by its pipe, and is asked to stop as by SIGTERM."""
    there = tmp_path / "there"
    parent = Process(ask, (tmp_path / "log.txt", there), tmp_path / "parent.txt")
    until(there.exists)
    assert there.read_text() == ""
    parent.kill()
    until(lambda: there.read_text() == "asked to stop")
