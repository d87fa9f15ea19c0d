import errno
import resource
import signal
from contextlib import contextmanager

import pytest
import torch

from imbdet.engine.checkpoint import Checkpoints, load_file


def state(iteration):
    return {"model": {"w": torch.full((1000,), float(iteration))}, "iteration": iteration}


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for iteration in (10, 20):
        checkpoints.save(state(iteration))
    return checkpoints


@contextmanager
def no_file_larger_than(size):
    """A full disk, as the kernel tells it."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_newest_is_loaded_and_the_one_before_is_kept(saved):
    assert saved.load()["iteration"] == 20
    assert load_file(saved.folder / "last_prev.pth")["iteration"] == 10
    assert sorted(p.name for p in saved.folder.iterdir()) == ["last.pth", "last_prev.pth"]


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert Checkpoints(tmp_path).load() is None


def test_a_file_cut_short_gives_way_to_the_one_before(saved):
    last = saved.folder / "last.pth"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"last\.pth is damaged.*continuing from last_prev\.pth, iteration 10"):
        assert saved.load()["iteration"] == 10


def test_a_flipped_byte_is_found(saved):
    last = saved.folder / "last.pth"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.warns(UserWarning, match="checksum"):
        assert saved.load()["iteration"] == 10


def test_killed_between_the_renames(saved):
    (saved.folder / "last.pth").unlink()
    with pytest.warns(UserWarning, match="last.pth is missing; continuing from last_prev.pth"):
        assert saved.load()["iteration"] == 10


def test_nothing_whole_is_an_error(saved):
    for name in ("last.pth", "last_prev.pth"):
        (saved.folder / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match="no checkpoint to continue from.*last.pth.*last_prev.pth"):
        saved.load()


@pytest.mark.parametrize("size", [100, 2000, 2**21])
def test_a_full_disk_leaves_the_old_checkpoint(saved, size):
    """At the first byte, in a small tensor, and in one that torch writes in several parts."""
    message = r"cannot write .*last\.pth: File too large .*MiB free.*untouched"
    large = {**state(30), "more": torch.zeros(2**20)}
    with no_file_larger_than(size), pytest.raises(OSError, match=message) as error:
        saved.save(large)
    assert error.value.errno == errno.EFBIG
    assert saved.load()["iteration"] == 20
    assert sorted(p.name for p in saved.folder.iterdir()) == ["last.pth", "last_prev.pth"]


def test_named_checkpoints_are_limited(tmp_path):
    checkpoints = Checkpoints(tmp_path, max_to_keep=2)
    for iteration in (1, 2, 3, 4):
        checkpoints.save(state(iteration), named=iteration != 4)
    assert [p.name for p in sorted(tmp_path.glob("model_*"))] == ["model_0000002.pth", "model_0000003.pth"]
    assert load_file(tmp_path / "model_0000002.pth")["model"]["w"][0] == 2


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code of a checkpoint was run",))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="not a checkpoint that loads safely"):
        load_file(tmp_path / "evil.pth")


def test_a_missing_file_names_those_that_are_there(saved):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*best.pth; there is last.pth, last_prev.pth"):
        load_file(saved.folder / "best.pth")
