"""TensorBoard for a whole grid: `tensorboard --logdir DIR/tb` shows every arm and seed on the same plots.

    tb/<arm>/seed_<s>/train, val     links to the events of the runs
    tb/layout                        custom scalars: AP and losses of all arms, one plot each
    tb/hparams/<arm>/seed_<s>        one session a run: arm, remedies, seed -> the metrics of its last weights

What is notable here: links are made when a run begins, so that it can be watched; the rest is written anew each time
from what results.jsonl holds. Where links are not possible, events are copied at the end.
"""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..engine.log import METRICS, read_metrics
from .store import folder_name
from .structures import RunRecord

FOLDER, LAYOUT, SESSIONS = "tb", "layout", "hparams"
SHOWN = ("AP", "AP50", "AP75", "AP90", "APs", "APm", "APl", "APr", "APc", "APf")  #: metrics of a session
CURVES = ("AP", "AP50", "AP75", "APr", "APc", "APf", "APs", "APm", "APl")


def link_run(root: Path, arm: str, seed: int, events: Path | None = None) -> None:
    """Make the events of a run appear at tb/<arm>/seed_<s>.

    Args:
        arm: its folder's name. events: the run's `tb` folder, by default that of the grid's own run.
    """
    place = root / FOLDER / arm / f"seed_{seed}"
    events = root / "runs" / arm / f"seed_{seed}" / "tb" if events is None else events
    if os.path.lexists(place):
        if not place.is_symlink():
            return
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    events.mkdir(parents=True, exist_ok=True)
    try:
        os.symlink(os.path.relpath(events.resolve(), place.parent.resolve()), place, target_is_directory=True)
    except OSError:  # no links here: `write_board` copies
        return


def write_board(root: Path, records: Sequence[RunRecord]) -> Path:
    """Links, layout and sessions of all finished runs; returns the folder for `tensorboard --logdir`.

    Records whose folder lies outside of `root` hold its absolute path.
    """
    board = root / FOLDER
    for record in records:
        events = root / record.folder / "tb"
        if record.status == "finished" and events.is_dir():
            link_run(root, folder_name(record.arm), record.seed, events)
            _copy_unlinked(board / folder_name(record.arm) / f"seed_{record.seed}", events)
    for folder in (LAYOUT, SESSIONS):
        shutil.rmtree(board / folder, ignore_errors=True)
    _write_layout(board / LAYOUT, _loss_tags(root, records))
    for record in records:
        if record.status == "finished":
            _write_session(board / SESSIONS / folder_name(record.arm) / f"seed_{record.seed}", record)
    return board


def _copy_unlinked(place: Path, events: Path) -> None:
    if not place.is_symlink() and place.resolve() != events.resolve():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(events, place)


def _loss_tags(root: Path, records: Iterable[RunRecord]) -> list[str]:
    """Every loss that any arm has, once, the total first."""
    tags, arms = {"loss/total": None}, set()
    for record in records:
        path = root / record.folder / METRICS
        if record.arm not in arms and path.is_file():
            arms.add(record.arm)
            for line in read_metrics(path)[:2]:
                tags.update(dict.fromkeys(tag for tag in line if tag.startswith("loss/")))
    return list(tags)


def _write_layout(folder: Path, losses: Sequence[str]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def chart(tag: str) -> list:
        return ["Multiline", [f"^{re.escape(tag)}$"]]  # tags are patterns there

    layout = {
        "average precision": {name: chart(f"AP/{name}") for name in CURVES},
        "losses": {tag: chart(tag) for tag in losses},
    }
    with SummaryWriter(folder) as writer:
        writer.add_custom_scalars(layout)


def _write_session(folder: Path, record: RunRecord) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    told = {"arm": record.arm, "remedies": "+".join(record.remedies) or "none", "seed": record.seed}
    metrics = {f"final/{name}": record.metrics[name] for name in SHOWN if record.metrics.get(name) is not None}
    with SummaryWriter(folder) as writer:
        for summary in hparams(told, metrics):
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value)
