"""From a config to a run that is ready for its first step: folder, checkpoint, objects, checks, what is said and
written.
"""

from pathlib import Path
from typing import Any

from ..runs import CONFIG, TRAINED_ON
from ..write import write_json
from . import run_folder as folders
from .build import Run, build
from .checkpoint import Checkpoints
from .distributed import World
from .environment import describe_environment, write_environment
from .log import NoLog, RunLog
from .origin import origin_of, training_records
from .progress import Progress
from .seed import seed_everything
from .settings import Settings
from .stop import StopRequest
from .summary import (
    check_best_metric,
    check_data,
    describe_data,
    describe_run,
    describe_warmup,
    epoch_length,
    group_of_classes,
    splits,
)


def start_run(cfg: Any, settings: Settings, world: World, stop: StopRequest, resume: bool) -> tuple[Run, int]:
    """The run and the number of iterations it has done already. Raises as `train` does."""
    folder, config = Path(settings.output_dir), folders.plain(cfg)
    say = print if world.main else _silent
    if world.main:
        folders.prepare(folder, resume, settings.overwrite)
    world.barrier()
    checkpoints = Checkpoints(folder, settings.checkpointer.max_to_keep)
    state = checkpoints.load() if resume else None
    if state is not None:
        for line in folders.refuse_changes(state["config"], config, folder):
            say(f"changed since the run began: {line}")
    elif resume:
        say(f"{folder} holds no checkpoint: starting from the beginning")

    origin = origin_of(cfg, training_records(cfg))
    if state is not None:
        for line in folders.refuse_other_classes(state.get("trained_on"), origin, folder):
            say(line)

    seed_everything(settings.seed)  # the same weights in every process
    run = build(cfg, settings, world, fresh=state is None, say=say)
    seed_everything(settings.seed, world.rank)
    records = splits(cfg, run)
    start = run.load(state) if state is not None else 0
    if "train" in records:
        run.groups, _ = group_of_classes(records["train"])
        run.train_records = records["train"]  # as they are in the file, before any balancing
    run.config, run.trained_on, run.checkpoints, run.stop = config, origin, checkpoints, stop
    if world.main:
        _begin(cfg, run, folder, records, start, say)
        run.log = RunLog(folder, start, settings.tensorboard, run.adversaries.steps)
    else:
        run.log = NoLog()
    run.progress = Progress(settings.max_iter, start, epoch_length(run), enabled=world.main)
    return run, start


def _begin(cfg: Any, run: Run, folder: Path, records: dict[str, Any], start: int, say: Any) -> None:
    """What process 0 says, checks and writes before the first step."""
    from ..config import save_config

    describe_data(records, say)
    check_data(records)
    check_best_metric(run)
    describe_run(run, say)
    describe_warmup(run, say)
    if start:
        say(f"continuing after iteration {start}")
    save_config(cfg, folder / CONFIG)
    if run.trained_on:
        write_json(folder / TRAINED_ON, run.trained_on, "Checkpoints are untouched.")
    data = {name: split.fingerprint() for name, split in records.items()}
    environment = describe_environment(run.device, run.settings.seed, data, run.world.size)
    write_environment(folder, environment, resumed_at=start or None)


def _silent(text: str) -> None:
    """For the processes that leave the speaking to the first."""
