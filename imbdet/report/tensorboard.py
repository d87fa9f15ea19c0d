"""TensorBoard for a whole grid: `tensorboard --logdir DIR/tb` shows every arm and seed on the same plots.

    tb/<arm>/seed_<s>/train, val     links to the events of the runs
    tb/layout                        custom scalars: AP and losses of all arms, one plot each
    tb/hparams/<arm>/seed_<s>        one session a run: arm, remedies, seed -> the metrics of its last weights

The links are made when a run begins (`compare.results.link_events`); the rest is written anew each time from what
results.jsonl holds. Where links are not possible, events are copied.
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..compare.results import link_events
from ..compare.structures import RunRecord, folder_name
from ..evaluation.metrics import PRECISIONS
from ..runs import TENSORBOARD, RunFolder

LAYOUT, SESSIONS = "layout", "hparams"


def write_tensorboard(root: Path, records: Sequence[RunRecord]) -> Path:
    """Return links, layout and sessions of all finished runs; returns the folder for `tensorboard --logdir`.

    Records whose folder lies outside of `root` hold its absolute path.
    """
    board = root / TENSORBOARD
    for record in records:
        events = root / record.folder / TENSORBOARD
        if record.status == "finished" and events.is_dir():
            place = link_events(root, record.arm, record.seed, events)
            if not place.is_symlink() and place.resolve() != events.resolve():  # no links here
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(events, place)
    for folder in (LAYOUT, SESSIONS):
        shutil.rmtree(board / folder, ignore_errors=True)
    _write_layout(board / LAYOUT, _loss_tags(root, records))
    for record in records:
        if record.status == "finished":
            _write_session(board / SESSIONS / folder_name(record.arm) / f"seed_{record.seed}", record)
    return board


def _loss_tags(root: Path, records: Iterable[RunRecord]) -> list[str]:
    """Every loss that any arm has, once, the total first."""
    tags, arms = {"loss/total": None}, set()
    for record in records:
        reports = [] if record.arm in arms else RunFolder(root / record.folder).metrics()
        for line in reports[:2]:
            arms.add(record.arm)
            tags.update(dict.fromkeys(tag for tag in line if tag.startswith("loss/")))
    return list(tags)


def _write_layout(folder: Path, losses: Sequence[str]) -> None:
    from torch.utils.tensorboard import SummaryWriter

    def chart(tag: str) -> list:
        return ["Multiline", [f"^{re.escape(tag)}$"]]  # tags are patterns there

    layout = {
        "average precision": {name: chart(f"AP/{name}") for name in PRECISIONS},
        "losses": {tag: chart(tag) for tag in losses},
    }
    with SummaryWriter(folder) as writer:
        writer.add_custom_scalars(layout)


def _write_session(folder: Path, record: RunRecord) -> None:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    told = {"arm": record.arm, "remedies": "+".join(record.remedies) or "none", "seed": record.seed}
    metrics = {f"final/{name}": record.metrics[name] for name in PRECISIONS if record.metrics.get(name) is not None}
    with SummaryWriter(folder) as writer:
        for summary in hparams(told, metrics):
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value)
