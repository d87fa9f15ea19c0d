"""The files of a comparison: plan.json, base.yaml, results.jsonl, a record.json in each run folder, and locks.

What is notable here: every file appears whole or not at all, and a line of results.jsonl is on the disk before the
next cell is looked at, so that a kill at any moment costs nothing that was finished. A cell leaves its record in its
own folder; results.jsonl is written by the one process that leads the grid.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from ..write import write_json, write_whole
from .structures import PLAN, RESULTS, Arm, Plan, RunRecord

BASE, RECORD, LOG, LOCK = "base.yaml", "record.json", "log.txt", ".lock"


def folder_name(arm: str) -> str:
    """The folder of an arm: its name without what a path or a shell would take apart.

    Example:
        >>> folder_name("baseline (200 more iterations)")
        'baseline_200_more_iterations'
    """
    kept = "".join(letter if letter.isalnum() or letter in "+-_.=" else " " for letter in arm)
    return "_".join(kept.split())


def run_folder(arm: str, seed: int) -> str:
    """Of a cell, relative to the comparison's folder."""
    return f"runs/{folder_name(arm)}/seed_{seed}"


def write_plan(plan: Plan, root: Path) -> None:
    write_json(root / PLAN, asdict(plan))


def read_plan(root: Path) -> Plan:
    """The plan of a comparison's folder. Raises FileNotFoundError, ValueError if it is no plan."""
    path = Path(root) / PLAN
    if not path.is_file():
        raise FileNotFoundError(f"{root} is not a comparison: it holds no {PLAN}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        arms = tuple(_arm(values) for values in content.pop("arms"))
        known = {item.name for item in fields(Plan)}
        lists = {key: tuple(value) for key, value in content.items() if isinstance(value, list)}
        return Plan(arms=arms, **{key: value for key, value in {**content, **lists}.items() if key in known})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a plan that can be read: {type(error).__name__}: {error}") from error


def _arm(values: dict) -> Arm:
    return Arm(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def arm_of(plan: Plan, name: str) -> Arm:
    """Raises ValueError if the plan has no such arm."""
    for arm in plan.arms:
        if arm.name == name:
            return arm
    raise ValueError(f"the plan has no arm {name!r}; it has {', '.join(arm.name for arm in plan.arms)}")


def cells(plan: Plan) -> list[tuple[str, int]]:
    """(arm, seed) of all runs, seed after seed, so that an unfinished grid compares all arms on the seeds it has."""
    return [(arm.name, seed) for seed in plan.seeds for arm in plan.arms]


def read_results(root: Path) -> list[RunRecord]:
    """The records of results.jsonl, without a last line that a kill has cut; of a cell that is there twice, the later.

    Raises:
        ValueError: a line, other than the last, that is no record.
    """
    path = Path(root) / RESULTS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    found: dict[tuple[str, int], RunRecord] = {}
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = record_of(json.loads(line))
        except (ValueError, TypeError) as error:
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
    """All lines anew, whole or not at all."""
    write_whole(Path(root) / RESULTS, "".join(json.dumps(asdict(record)) + "\n" for record in records))


def record_of(values: dict) -> RunRecord:
    """Raises TypeError for a key that no record has."""
    return RunRecord(**values)


def read_record(folder: Path) -> RunRecord | None:
    """The record that a cell left in its run folder; None if there is none that can be read."""
    try:
        return record_of(json.loads((Path(folder) / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def locked(path: Path, wait: float, busy: str) -> Iterator[None]:
    """Inside, no other process holds `path`; the system frees it when a holder dies, however it dies.

    Args:
        wait: seconds. busy: what to say when it is still held then.

    Raises:
        ValueError: it is still held.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the user must not start it twice
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
