"""The lead of a grid: what it starts when, what it writes down, how it stops; the engine here trains nothing."""

import signal
from dataclasses import asdict

import pytest

from imbdet.compare.executors import LocalEngine
from imbdet.compare.results import RECORD, append_result, read_plan, read_results
from imbdet.compare.run import Pace, Stopped, collect, end_of, enter, forget_failures, refuse_another_machine, run_grid
from imbdet.compare.structures import RunRecord, run_folder
from imbdet.engine.stop import StopRequest
from imbdet.write import write_json

from .conftest import FOCAL, begin, tiny_plan


class Engine:
    """Runs each cell at its start, by `work(root, arm, seed)` -> exit code; ends them one at a time, the last first."""

    def __init__(self, work, capacity=1):
        self.capacity = self.width = capacity
        self.work, self.started, self.running, self.stopped = work, [], {}, 0

    def start(self, root, arm, seed):
        assert len(self.running) < self.capacity
        self.started.append((arm, seed))
        self.running[arm, seed] = self.work(root, arm, seed)

    def ended(self, timeout):
        return [(*self.running.popitem(), 3.0)] if self.running else []

    def stop(self):
        self.stopped += 1


def leave_record(root, arm, seed, status="finished", reason=""):
    folder = root / run_folder(arm, seed)
    folder.mkdir(parents=True, exist_ok=True)
    record = RunRecord(arm, seed, run_folder(arm, seed), status, reason, metrics={"AP": 0.25})
    write_json(folder / RECORD, asdict(record))
    return 0 if status == "finished" else 3


def go(plan, root, work, capacity=1, stop=None):
    said, engine = [], Engine(work, capacity)
    run_grid(plan, root, engine, stop or StopRequest(), said.append)
    return engine, said


def states(root):
    return {(r.arm, r.seed): r.status for r in read_results(root)}


@pytest.fixture
def root(tmp_path):
    return begin(tiny_plan(FOCAL, seeds=(0, 1)), tmp_path / "out")


def test_seed_after_seed_all_arms(root):
    engine, said = go(read_plan(root), root, leave_record)
    assert engine.started == [("baseline", 0), ("focal_loss", 0), ("baseline", 1), ("focal_loss", 1)]
    assert said[0].startswith("[1/4] baseline seed 0 finished, AP 25.00 in 0:00:03") and said[-1].startswith("[4/4]")
    assert set(states(root).values()) == {"finished"} and engine.stopped == 1
    assert (root / "tb" / "baseline" / "seed_1").is_symlink()


def test_what_is_done_is_not_started_again(root):
    """One is in results.jsonl; one has left its record, but the lead was killed before it wrote that down."""
    append_result(root, RunRecord("baseline", 0, run_folder("baseline", 0), "finished"))
    leave_record(root, "focal_loss", 0)
    engine, _ = go(read_plan(root), root, leave_record)
    assert engine.started == [("baseline", 1), ("focal_loss", 1)] and len(states(root)) == 4


def test_several_at_once_are_never_more_than_the_engine_takes(root):
    engine, _ = go(read_plan(root), root, leave_record, capacity=3)
    assert len(engine.started) == 4 and len(states(root)) == 4


def test_a_failing_arm_is_a_row_and_the_grid_goes_on(root):
    def work(root, arm, seed):
        if arm == "focal_loss" and seed == 0:
            return leave_record(root, arm, seed, "failed", "diverged: loss nan")
        return -9 if arm == "focal_loss" else leave_record(root, arm, seed)

    _, said = go(read_plan(root), root, work)
    reasons = {(r.arm, r.seed): r.reason for r in read_results(root) if r.status == "failed"}
    assert reasons == {
        ("focal_loss", 0): "diverged: loss nan",
        ("focal_loss", 1): "killed by SIGKILL, as the system does when memory runs out",
    }
    assert states(root)["baseline", 1] == "finished"
    assert any("focal_loss seed 0 failed: diverged: loss nan" in line for line in said)


def test_failures_are_tried_again_when_asked(root):
    for seed, reason in ((0, "diverged: nan"), (1, "out of memory: no room")):
        leave_record(root, "focal_loss", seed, "failed", reason)
        (root / run_folder("focal_loss", seed) / "last.pth").touch()
        leave_record(root, "baseline", seed)
    plan = read_plan(root)
    engine, _ = go(plan, root, leave_record)
    assert engine.started == []
    assert forget_failures(plan, root) == 2 and set(states(root)) == {("baseline", 0), ("baseline", 1)}
    kept = [(root / run_folder("focal_loss", seed) / "last.pth").exists() for seed in (0, 1)]
    assert kept == [False, True]  # more memory helps a run on; a divergence would only be repeated
    engine, _ = go(plan, root, leave_record)
    assert engine.started == [("focal_loss", 0), ("focal_loss", 1)] and set(states(root).values()) == {"finished"}
    assert forget_failures(plan, root) == 0


def test_a_signal_stops_it_and_the_next_call_goes_on(root):
    stop = StopRequest()

    def work(root, arm, seed):
        if (arm, seed) == ("focal_loss", 0):
            stop.signum = signal.SIGTERM
        return leave_record(root, arm, seed)

    with pytest.raises(Stopped) as stopped:
        go(read_plan(root), root, work, stop=stop)
    assert stopped.value.code == 143
    assert len(collect(read_plan(root), root)) == 2
    engine, _ = go(read_plan(root), root, leave_record)
    assert engine.started == [("baseline", 1), ("focal_loss", 1)]


def test_remaining_time_by_hand():
    """Runs of 10 s each were expected; one took 15: a run that waits and one that is half done take 15 + 7.5 s."""
    pace = Pace({"a": 100, "b": 100}, {"a": 10.0, "b": 10.0})
    assert pace.seconds([("a", 0), ("b", 50)]) == 15.0
    pace.begin(("a", 0), 0)
    pace.begin(("b", 0), 90)  # half done before this session: it says nothing of a whole run
    pace.end(("b", 0), 9.0)
    pace.end(("a", 0), 15.0)
    assert pace.seconds([("a", 0), ("b", 50)]) == 22.5
    unknown = Pace({"a": 100})
    assert unknown.seconds([("a", 0)]) is None
    unknown.begin(("a", 0), 0)
    unknown.end(("a", 0), 7.0)
    assert unknown.seconds([("a", 0)]) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [(-15, "killed by SIGTERM"), (139, "killed by SIGSEGV"), (1, "error: its process ended with code 1; see log.txt")],
)
def test_ends_without_a_record(code, words):
    assert end_of(code).startswith(words)


def test_real_processes_share_the_gpus_in_turns(root, monkeypatch):
    """Three places, two GPUs; a place that is free again is taken first."""
    seen = []

    class Fake:
        exitcode = sentinel = None

        def __init__(self, function, arguments, log, environment):
            assert function is enter and log == root / run_folder(*arguments[1:]) / "log.txt"
            seen.append(environment["CUDA_VISIBLE_DEVICES"])

    monkeypatch.setattr("imbdet.compare.executors.Process", Fake)
    monkeypatch.setattr("imbdet.compare.executors.wait", lambda sentinels, timeout: None)
    engine = LocalEngine(3, ("0", "5"))
    for seed in range(3):
        engine.start(root, "baseline", seed)
    engine.running["baseline", 1].exitcode = 0
    assert [end[:2] for end in engine.ended(0)] == [(("baseline", 1), 0)]
    engine.start(root, "baseline", 3)
    assert seen == ["0", "5", "0", "5"]


def test_a_broken_cell_of_the_local_engine(tmp_path):
    """A process of its own that cannot even read its plan."""
    engine = LocalEngine()
    engine.start(tmp_path, "baseline", 0)
    ended = []
    while not ended:
        ended = engine.ended(1.0)
    assert ended[0][:2] == (("baseline", 0), 1)
    assert (
        "is not a comparison: it holds no plan.json" in (tmp_path / run_folder("baseline", 0) / "log.txt").read_text()
    )


def test_a_seed_belongs_to_one_kind_of_machine(root):
    """Seed 0 is complete, seed 1 lacks focal_loss: only seed 1 is refused elsewhere, or its baseline computed again."""
    for arm, seed in (("baseline", 0), ("focal_loss", 0), ("baseline", 1)):
        record = RunRecord(arm, seed, run_folder(arm, seed), "finished", pins={"processor": "chip A"})
        append_result(root, record)
    plan = read_plan(root)
    for known in ("chip A", ""):
        assert refuse_another_machine(plan, root, known) == 0
    with pytest.raises(ValueError, match="seeds 1 were begun on chip A, and this is chip B: .* --rerun-elsewhere"):
        refuse_another_machine(plan, root, "chip B")
    assert refuse_another_machine(plan, root, "chip B", rerun=True) == 1
    assert set(states(root)) == {("baseline", 0), ("focal_loss", 0)}
