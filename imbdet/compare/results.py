"""The files of a comparison: plan.json, base.yaml, results.jsonl, a record.json in each run folder, and locks.

    tb/<arm>/seed_<s>/     links to TensorBoard's events of the runs, made when a run begins, so that it can be watched

Every file appears whole or not at all, and a line of results.jsonl is on the disk before the next cell is looked at: a
kill at any moment costs nothing that was finished. A cell leaves its record in its own folder; results.jsonl is written
by the one process that leads the grid.
"""

import contextlib
import csv
import json
import os
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import NoneType

import msgspec
from omegaconf import DictConfig

from ..config import instantiate, save_config
from ..config.moved import with_present_names
from ..engine.seed import set_threads
from ..engine.settings import read_settings
from ..engine.trained import evaluate_checkpoint
from ..evaluation.noise import residual_sd
from ..evaluation.result import EvaluationWarning
from ..evaluation.significance import Sample
from ..runs import DETECTIONS, LAST, TENSORBOARD, RunFolder, parse_json
from ..write import write_json, write_whole
from .fairness import run_pins
from .structures import Plan, RunRecord, base_config, folder_name, run_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PLAN, RESULTS, BASE, RECORD, LOG, LOCK = "plan.json", "results.jsonl", "base.yaml", "record.json", "log.txt", ".lock"


def write_plan(plan: Plan, root: Path) -> None:
    write_json(Path(root) / PLAN, asdict(plan))


def keep_base(plan: Plan, root: Path) -> None:
    """Write base.yaml, by which later commands on this folder are judged."""
    if not (Path(root) / BASE).is_file():
        save_config(base_config(plan), Path(root) / BASE)


def has_plan(root: Path) -> bool:
    return (Path(root) / PLAN).is_file()


def read_plan(root: Path) -> Plan:
    """Return the plan of a comparison's folder. Raises FileNotFoundError, ValueError if it is no plan."""
    path = Path(root) / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"{root} is not a comparison: it holds no {PLAN}")
    try:
        return Plan.from_dict(parse_json(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a plan that imbdet compare wrote: {error}") from error


def read_results(root: Path) -> list[RunRecord]:
    """Return the records of results.jsonl, without a last line that a kill has cut; of a cell that is there twice, the
    later.

    Raises:
        ValueError: a line, other than the last, that is no record.
    """
    path = Path(root) / RESULTS
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    found: dict[tuple[str, int], RunRecord] = {}
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = as_record(parse_json(line))
        except ValueError as error:
            if number == len(lines) - 1:  # no newline after it: it was being written
                continue
            raise ValueError(f"{path}, line {number + 1} is not a record: {error}") from error
        found.pop((record.arm, record.seed), None)
        found[record.arm, record.seed] = record
    return list(found.values())


def append_result(root: Path, record: RunRecord) -> None:
    """Add a line, and wait until it is on the disk. A line that a kill has cut before is dropped."""
    path = Path(root) / RESULTS
    if path.is_file():
        text = path.read_bytes()
        if text and not text.endswith(b"\n"):
            write_results(root, read_results(root))
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_results(root: Path, records: Sequence[RunRecord]) -> None:
    """Write all lines anew, whole or not at all."""
    write_whole(Path(root) / RESULTS, "".join(json.dumps(asdict(record)) + "\n" for record in records))


def as_record(values: dict) -> RunRecord:
    """Raise ValueError for what is no record: another key, a value of another type."""
    if not isinstance(values, dict) or (strange := [key for key in values if key not in RunRecord.__annotations__]):
        raise ValueError(f"a record has no {strange[0]!r}" if isinstance(values, dict) else "it is no object of keys")
    record = msgspec.convert(with_present_names(values), RunRecord)
    for i, row in enumerate(record.per_class):
        ap = row.get("AP", row)
        if not isinstance(row.get("name"), str) or isinstance(ap, bool) or not isinstance(ap, (int, float, NoneType)):
            raise ValueError(f"per_class[{i}] is {row!r:.100}; expected a name, and AP as a number or null")
    return record


def read_record(folder: Path) -> RunRecord | None:
    """Return the record that a cell left in its run folder; None if there is none that can be read."""
    try:
        return as_record(parse_json((Path(folder) / RECORD).read_bytes()))
    except (OSError, ValueError):
        return None


def finish(cfg: DictConfig, folder: Path, split: str, record: RunRecord) -> None:
    """Evaluate the last weights of a trained run; write its detections; fill in metrics, cost and pins."""
    threads = set_threads(read_settings(cfg).num_threads)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EvaluationWarning)
            result, detections = evaluate_checkpoint(cfg, folder / LAST, split)
    finally:
        set_threads(threads)
    detections.save(folder / DETECTIONS, [row["category_id"] for row in result.per_class])
    data = {name: instantiate(cfg.data[name]).fingerprint() for name in dict.fromkeys(("train", split))}
    record.metrics = {name: defined(value) for name, value in result.metrics.items()}
    record.per_class = result.per_class
    record.pins = run_pins(cfg, split, folder, result.evaluator, data)
    record.cost = cost_of(folder, record.pins["iterations done"])
    record.cost["parameters"] = sum(p.numel() for p in instantiate(cfg.model).parameters())
    print(result.to_text())


def defined(value: float | None) -> float | None:
    """Return the evaluator's -1, "there is no such object", as None."""
    return None if value is None or value == -1 else float(value)


def cost_of(folder: Path, iterations: int) -> dict[str, float | None]:
    """Return what a run took, from its metrics.jsonl: of all sessions together, without what a kill lost and redid."""
    reports = [line for line in RunFolder(folder).metrics() if line["split"] == "train"]
    steps, seconds, before, result = [], 0.0, 0, RunFolder(folder).result()
    for line in reports:
        steps.append(line["time/step"])
        seconds += line["time/step"] * (line["iteration"] - before)
        before = line["iteration"]
    memory = [line["memory/MiB"] for line in reports]
    return {
        "iterations": iterations,
        "seconds": seconds if reports else None,
        "step_seconds": statistics.median(steps) if reports else None,
        "peak_memory_mib": max(memory) if reports else None,
        **{name: result[name] for name in ("clipped_share", "adversary_steps") if result.get(name) is not None},
    }


def link_events(root: Path, arm: str, seed: int, events: Path | None = None) -> Path:
    """Make TensorBoard's events of a run appear at tb/<arm>/seed_<s>, which is returned.

    events: the run's own folder of them, by default that of the grid's own run. Where links are not possible, nothing
    is done.
    """
    place = Path(root) / TENSORBOARD / folder_name(arm) / f"seed_{seed}"
    events = Path(root) / run_folder(arm, seed) / TENSORBOARD if events is None else events
    if place.is_symlink():
        place.unlink()
    if not os.path.lexists(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        events.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            os.symlink(os.path.relpath(events.resolve(), place.parent.resolve()), place, target_is_directory=True)
    return place


@contextlib.contextmanager
def locked(path: Path, wait: float, busy: str) -> Iterator[None]:
    """Lock `path` against other processes while inside; the system frees it when a holder dies, however it dies.

    Args:
        wait: seconds. busy: what to say when it is still held then.

    Raises:
        ValueError: it is still held.
    """
    if fcntl is None:  # Windows: the user must not start it twice
        yield
        return
    with open(path, "a") as file:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if not isinstance(error, BlockingIOError):
                    break  # a file system without locks
                if time.monotonic() >= deadline:
                    raise ValueError(busy) from error
                time.sleep(0.1)
        yield


def pilot_sd(path: Path, metric: str) -> float:
    """Return the standard deviation of a run about its arm and seed in an earlier grid, given by its results.jsonl,
    runs.csv or folder.

    Raises:
        FileNotFoundError, ValueError: there is none, or it has less than two arms with two common seeds.
    """
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file() or path.suffix != ".csv" and path.name != RESULTS:
        raise FileNotFoundError(f"--pilot: {path} is no {RESULTS} or runs.csv of a comparison, nor a folder with one")
    values: dict[str, dict[int, float]] = {}
    if path.suffix == ".csv":
        try:
            with open(path, encoding="utf-8", newline="") as file:
                rows = [(r["arm"], int(r["seed"]), r["value"]) for r in csv.DictReader(file) if r["metric"] == metric]
            rows = [(arm, seed, float(value)) for arm, seed, value in rows if value]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"--pilot {path}: a runs.csv has the columns arm, seed, metric and value, with numbers; here "
                f"{type(error).__name__}: {error}"
            ) from error
    else:
        rows = [(r.arm, r.seed, r.metrics.get(metric)) for r in read_results(path.parent) if r.status == "finished"]
    for arm, seed, value in rows:
        if value is not None:
            values.setdefault(arm, {})[seed] = value
    sd = residual_sd(Sample(values, {}).matrix()) if values else None
    if not sd:
        raise ValueError(f"--pilot {path}: it has less than two arms with {metric} of two common seeds")
    return sd
