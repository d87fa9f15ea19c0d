"""What the engine makes of Ray's answers, with a stand-in for Ray; the real one runs in test_grid_goes_on."""

import sys
from types import SimpleNamespace

import pytest

from imbdet.compare.executors import RayEngine, places, run_cell_here

NAMES = ("RayTaskError", "WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "RaySystemError")
ERRORS = {name: type(name, (Exception,), {"cause": None}) for name in NAMES}


class FakeRay:
    """A cluster of two machines. `outcomes`: arm -> what `get` returns, or the error it raises; None for one that runs
    for ever."""

    exceptions = SimpleNamespace(**ERRORS)

    def __init__(self, **outcomes):
        self.outcomes, self.cancelled, self.options_given = outcomes, [], None

    def is_initialized(self):
        return True

    def nodes(self):
        machines = [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 2.0}]
        return [{"Alive": True, "Resources": m} for m in machines] + [{"Alive": False, "Resources": {"CPU": 99.0}}]

    def remote(self, function):
        def options(**given):
            self.options_given = given
            return SimpleNamespace(remote=lambda absolute, root, arm, seed, *folder_and_trust: (arm, seed))

        return SimpleNamespace(options=options)

    def wait(self, references, num_returns, timeout):
        ready = [r for r in references if self.outcomes.get(r[0]) is not None]
        return ready, [r for r in references if r not in ready]

    def get(self, reference):
        outcome = self.outcomes[reference[0]]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def cancel(self, reference):
        self.cancelled.append(reference)


@pytest.fixture
def engine(monkeypatch):
    def make(cpus=2, gpus=0, jobs=None, **outcomes):
        ray = FakeRay(**outcomes)
        monkeypatch.setitem(sys.modules, "ray", ray)
        return RayEngine(cpus, gpus, jobs), ray

    return make


def test_room_by_hand(engine):
    """4 and 2 CPUs are 3 runs of 2 CPUs; one GPU shared by two is 2 runs of half of one and 1 CPU."""
    assert engine(cpus=2)[0].width == 3 and engine(cpus=1, gpus=0.5)[0].width == 2
    assert engine(cpus=2, jobs=1)[0].width == 1 and engine(cpus=2)[0].capacity == 4
    assert places({"CPU": 4.0}, 1, 1) == 0
    with pytest.raises(
        ValueError, match="a run asks for 8 CPUs and 0 GPUs, but the machines of the cluster have 4 CPUs"
    ):
        engine(cpus=8)


def test_ends_and_losses(engine, tmp_path):
    task = ERRORS["RayTaskError"]("in the task")
    made, ray = engine(
        a=(0, 12.5), b=(3, 1.0), c=ERRORS["WorkerCrashedError"](), d=ERRORS["OutOfMemoryError"](), e=task, f=None
    )
    assert ray.options_given == {"num_cpus": 2, "num_gpus": 0, "max_retries": 3}
    for arm in "abcdef":
        made.start(tmp_path, arm, 0)
    assert sorted(made.ended(0)) == [
        (("a", 0), 0, 12.5),
        (("b", 0), 3, 1.0),
        (("c", 0), -9, 0.0),
        (("d", 0), -9, 0.0),
        (("e", 0), 1, 0.0),
    ]
    assert made.ended(0) == []
    made.stop()
    assert ray.cancelled == [("f", 0)] and made.ended(0) == []


def test_a_folder_that_is_not_shared_is_named(engine, tmp_path):
    with pytest.raises(
        FileNotFoundError, match="--out .*nowhere is not seen from .*; it must be at the same path"
    ) as error:
        run_cell_here(str(tmp_path / "nowhere"), "nowhere", "a", 0, str(tmp_path))
    task = ERRORS["RayTaskError"]()
    task.cause = error.value
    made, _ = engine(a=task)
    made.start(tmp_path, "a", 0)
    with pytest.raises(FileNotFoundError, match="is not seen from"):
        made.ended(0)


def test_an_address_where_nobody_answers(monkeypatch):
    def refuse(**_):
        raise ConnectionError("no")

    ray = FakeRay()
    ray.is_initialized, ray.init = lambda: False, refuse
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ConnectionError, match="no cluster answers at RAY_ADDRESS=10.0.0.1:6379"):
        RayEngine()
