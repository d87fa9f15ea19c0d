"""From a config to a run that is ready for its first step: folder, checkpoint, objects, checks, what is said and
written.
"""

from pathlib import Path
from typing import Any

from ..config import save_config
from ..runs import CONFIG, TRAINED_ON
from ..write import write_json
from . import run_folder as folders
from .build import Built, Run, build
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
    """Start or resume a run; return it and the number of iterations it has done already. Raises as `train` does."""
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
    built = build(cfg, settings, world, fresh=state is None, say=say)
    seed_everything(settings.seed, world.rank)
    records = splits(cfg, built)
    start = built.load(state) if state is not None else 0
    groups = None
    if "train" in records:
        groups, _ = group_of_classes(records["train"])
        built.train_records = records["train"]  # as they are in the file, before any balancing
    if world.main:
        _begin(cfg, built, folder, origin, records, start, say)
    run = Run(
        **vars(built),
        config=config,
        groups=groups,
        trained_on=origin,
        checkpoints=checkpoints,
        log=_log(settings, folder, start, built.adversaries.steps, config) if world.main else NoLog(),
        progress=Progress(settings.max_iter, start, epoch_length(built), enabled=world.main),
        stop=stop,
    )
    return run, start


def _begin(cfg: Any, built: Built, folder: Path, origin: dict, records: dict[str, Any], start: int, say: Any) -> None:
    """What process 0 says, checks and writes before the first step."""
    describe_data(records, say)
    check_data(records)
    check_best_metric(built)
    describe_run(built, say)
    describe_warmup(built, say)
    if start:
        say(f"continuing after iteration {start}")
    save_config(cfg, folder / CONFIG)
    if origin:
        write_json(folder / TRAINED_ON, origin, "Checkpoints are untouched.")
    data = {name: split.fingerprint() for name, split in records.items()}
    environment = describe_environment(built.device, built.settings.seed, data, built.world.size)
    write_environment(folder, environment, resumed_at=start or None)


def _log(settings: Settings, folder: Path, start: int, steps: int, config: dict) -> RunLog:
    return RunLog(folder, start, settings.tensorboard, steps, settings.loggers, config)


def _silent(text: str) -> None:
    """For the processes that leave the speaking to the first."""
