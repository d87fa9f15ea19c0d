"""One run of a grid: train it (or go on with it), evaluate its last weights, leave its record.

    python -m imbdet.compare.cell ROOT ARM SEED

does what the grid does for one cell; ROOT is a comparison's folder with its plan.

What is notable here: a run may be killed at any moment and started again. A cell that has finished says so at once; one
that is half done goes on from its checkpoint; two processes never work on the same cell. An error that belongs to the
run (it diverged, memory ran out, its config was refused) becomes a record; a request to stop leaves none.
"""

import statistics
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .configs import base_config, cell_config
from .store import LOCK, RECORD, arm_of, locked, read_plan, read_record, run_folder, write_json
from .structures import DETECTIONS, Arm, Plan, RunRecord

FAILED = 3  #: exit code of a cell whose record says "failed"
WAIT = 300.0  #: seconds for a process that still has the run: one that was just asked to stop writes its checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cell that `argv` names; the exit code is 0, or FAILED."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 3 or not words[2].isdigit():
        raise SystemExit("usage: python -m imbdet.compare.cell ROOT ARM SEED")
    record = run_cell(Path(words[0]), words[1], int(words[2]))
    return 0 if record.status == "finished" else FAILED


def enter(words: list[str]) -> None:
    """`main` as the whole of a process."""
    raise SystemExit(main(words))


def run_cell(root: Path, name: str, seed: int) -> RunRecord:
    """Run the cell of arm `name` and `seed` in the comparison at `root`.

    Raises:
        Interrupted, KeyboardInterrupt: it was asked to stop; the same call goes on. OSError: the folder cannot be
        written, or is not to be seen from here. ValueError: another process does not let go of the run.
    """
    plan = read_plan(root)
    arm, folder = arm_of(plan, name), root / run_folder(name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, WAIT, f"another process has worked on {folder} for {WAIT:.0f} s; end it first"):
        record = read_record(folder)
        if record is not None and record.status == "finished":
            return record
        (folder / RECORD).unlink(missing_ok=True)
        record = RunRecord(
            arm=name,
            seed=seed,
            folder=run_folder(name, seed),
            status="failed",
            remedies=list(arm.remedies),
            overrides=[*plan.overrides, *arm.overrides],
        )
        try:
            _work(plan, arm, seed, root, record)
        except Exception as error:
            record.reason = reason_of(error)
            traceback.print_exc()
        write_json(folder / RECORD, asdict(record))
    return record


def _work(plan: Plan, arm: Arm, seed: int, root: Path, record: RunRecord) -> None:
    """Train, evaluate, and fill in the record."""
    from ..engine import train
    from ..engine.checkpoint import PREVIOUS
    from .budget import MADE, made_by_remedy
    from .controls import extra_iterations
    from .starts import shared_start

    cfg, base, folder = cell_config(plan, arm, seed, root), base_config(plan), root / record.folder
    cfg.train.init_shared = shared_start(base, cfg, arm.name, seed, root)
    train(cfg, resume=True)
    finish(cfg, folder, plan.split, record)
    (folder / PREVIOUS).unlink(missing_ok=True)  # it was for a kill; now it is half of the disk
    record.pins["budget"] = plan.budget
    record.pins[MADE] = made_by_remedy(base, cfg, plan.split, extra_iterations(arm, base))
    record.status = "finished"


def finish(cfg: Any, folder: Path, split: str, record: RunRecord) -> None:
    """Evaluate the last weights of a trained run; write its detections; fill in metrics, cost and pins."""
    from ..config import instantiate
    from ..engine.checkpoint import LAST
    from ..engine.seed import set_threads
    from ..engine.settings import read_settings
    from ..engine.trained import evaluate_checkpoint
    from ..evaluation.result import EvaluationWarning
    from .budget import run_pins

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
    """The evaluator's -1, "there is no such object", as None."""
    return None if value is None or value == -1 else float(value)


def cost_of(folder: Path, iterations: int) -> dict[str, float | None]:
    """What a run took, from its metrics.jsonl: of all sessions together, without what a kill lost and redid."""
    from ..engine.log import METRICS, read_metrics

    reports = [line for line in read_metrics(folder / METRICS) if line["split"] == "train"]
    steps, seconds, before = [], 0.0, 0
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
    }


def reason_of(error: BaseException) -> str:
    """One line on why a run failed."""
    from ..commands import is_users_mistake

    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, FloatingPointError) or "not finite" in text:  # a loss in training, a box in evaluation
        return f"diverged: {text}"
    if is_out_of_memory(error):
        return f"out of memory: {text}"
    if is_users_mistake(error):
        return f"refused: {text}"
    return f"error: {type(error).__name__}: {text}"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether it, or what it came from, is a lack of memory; torch has no type of its own for that of the CPU."""
    words = ("out of memory", "can't allocate memory", "cannot allocate memory")
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
