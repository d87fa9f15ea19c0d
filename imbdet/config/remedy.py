"""Put remedies on a config: find them by name, apply them in order, refuse those that collide.

A remedy config is `configs/remedies/<imbalance>/<name>.py` with a docstring, `baseline = "baselines/..."` and
`def apply(cfg)`, which changes `cfg` in place. It may declare `wraps = ("other", ...)`: remedies that it is built to
act on top of, and that must come before it; and `extra_iterations`, a number or a function of the config, for a phase
that it needs besides (`imbdet compare` gives the baseline a control arm of the same length); and `control = True`: it
is no remedy but a control, as those in `configs/controls/` are.

What is notable here: collisions are found from what `apply` really changes, not from what a remedy says about itself.
"""

import difflib
import inspect
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from ..slots import CRITERIA, IN_CRITERION, SLOTS, is_inside, slot_at, slots_of
from . import files
from .allowed import may_run
from .difference import changed_paths
from .docstrings import home_alone, parse
from .keys import accepts, nearest_key, walk
from .lazy import LazyCall, contents, plain

#: statistics of `imbdet.data.statistics` that have a number for each class; what asks for one cannot act on the RPN
PER_CLASS = ("class_counts", "image_counts", "image_shares", "class_groups", "class_dimensions")


@dataclass(frozen=True)
class Remedy:
    """One remedy config, read."""

    name: str
    path: Path
    apply: Callable[[DictConfig], None]
    baseline: str
    wraps: tuple[str, ...]
    slots: tuple[str, ...] = ()  # as the docstrings of the classes say that it imports
    homes: tuple[str, ...] = ()  # their `Home:` lines
    place: str = ""  # "rpn": it fills its slots there
    control: bool = False


@dataclass(frozen=True)
class Applied:
    """A remedy that is in a config, and the keys that it changed there."""

    remedy: Remedy
    changed: tuple[str, ...]


def criterion_of(cfg: DictConfig) -> DictConfig:
    """The criterion that classifies the final boxes: `model.criterion`, in two stages `model.roi_heads.criterion`.

    Raises:
        ValueError: the model has neither.
    """
    for place in ("dense", "roi"):
        node = OmegaConf.select(cfg, CRITERIA[place])
        if node is not None:
            return node
    raise ValueError("this model has no criterion: neither model.criterion nor model.roi_heads.criterion")


def rebuilt(node: DictConfig, target: Callable, drop: Sequence[str] = (), **settings) -> DictConfig:
    """The parts of a node under another class: what a structural remedy puts around the slots that a node holds.

    Args:
        drop: keys that `target` does not take. settings: keys that it takes besides, or with another value.
    """
    parts = contents(node)
    kept = {key: value for key, value in parts.items() if key not in ("_target_", *drop, *settings)}
    return LazyCall(target)(**kept, **settings)


def remedy_names() -> list[str]:
    """Shipped remedies as "imbalance/name", sorted."""
    root = files.configs_dir() / "remedies"
    return files.shipped_names(root, root)


def find_remedy(name: str) -> Remedy:
    """The remedy called `name`: "focal_loss", "class_fg_bg/focal_loss", "controls/seam", or the path of a .py file.

    "focal_loss@rpn" is the same remedy for the criterion of the RPN.

    Raises:
        ValueError: there is none (the nearest is named), the file is not a remedy, or it cannot be sent to that place.
    """
    name, place = _place_in(name)
    root, known = files.configs_dir() / "remedies", remedy_names()
    others = files.shipped_configs("combined", "controls")
    if name.endswith(".py"):
        path = Path(name).resolve()
        if not path.is_file():
            raise ValueError(f"remedy file {name!r} does not exist at {path}; shipped remedies are named without .py")
    elif name in others:
        path = root.parent / f"{name}.py"
    else:
        found = [full for full in known if name in (full, full.rsplit("/", 1)[-1])]
        if len(found) > 1:
            raise ValueError(f"remedy {name!r} is ambiguous: {' or '.join(found)}")
        if not found:
            stems = [full.rsplit("/", 1)[-1] for full in known]
            near = difflib.get_close_matches(name.replace("-", "_"), [*stems, *known, *others], 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(stems) or 'none'}"
            raise ValueError(f"unknown remedy {name!r}; {hint}")
        path = root / f"{found[0]}.py"
    remedy = read_remedy(path)
    return _sent(remedy, place) if place else remedy


def _place_in(name: str) -> tuple[str, str]:
    """ "focal_loss@rpn" -> "focal_loss", "rpn"."""
    bare, at, place = name.rpartition("@")
    if not at or "/" in place or "." in place:
        return name, ""
    if place != "rpn":
        raise ValueError(f"remedy {name!r}: {place!r} is not a place for a remedy; there is rpn, as in {bare}@rpn")
    return bare, place


def _sent(remedy: Remedy, place: str) -> Remedy:
    """The remedy for the criterion at `place`, the RPN's.

    Raises:
        ValueError: a slot of it is not there, or it balances classes, of which the RPN has one.
    """
    name, slots = f"{remedy.name}@{place}", [slot for slot in remedy.slots if slot in SLOTS]
    elsewhere = [slot for slot in slots if slot not in IN_CRITERION]
    if elsewhere or not slots:
        what = f"it fills {' and '.join(dict.fromkeys(elsewhere))}" if elsewhere else "its file names no slot"
        raise ValueError(f"remedy {name!r}: {what}; the RPN's criterion has {', '.join(IN_CRITERION)}")
    if remedy.path.parent.name == "class_fg_fg":
        raise ValueError(f"remedy {name!r}: the RPN tells objects from background alone, so no class can be balanced")
    wraps = tuple(f"{other}@{place}" for other in remedy.wraps)
    return replace(remedy, name=name, wraps=wraps, place=place, baseline="baselines/faster_rcnn_shapes")


def read_remedy(path: Path) -> Remedy:
    """Run a remedy file.

    Raises:
        ValueError: it lacks `apply`, or `wraps` is not a tuple of names, or `control` is neither True nor False.
    """
    names = files.run_file(path)
    if not callable(names.get("apply")):
        raise ValueError(f"{path} is not a remedy: it defines no apply(cfg), which changes a config in place")
    wraps = names.get("wraps", ())
    if isinstance(wraps, str) or not all(isinstance(item, str) for item in wraps):
        raise ValueError(f'{path}: wraps must be a tuple of remedy names such as ("focal_loss",), got {wraps!r}')
    parts = [value for value in names.values() if inspect.isclass(value) or inspect.isfunction(value)]
    fields = [parse(inspect.cleandoc(part.__doc__ or "")) for part in parts]
    slots = tuple(word for one in fields for word in re.findall(r"\w+", one.get("Slot", "")))
    homes = tuple(one["Home"] for one in fields if "Home" in one)
    control = names.get("control", False)
    if not isinstance(control, bool):
        raise ValueError(f"{path}: control must be True or False, got {control!r}")
    baseline = names.get("baseline", "")
    return Remedy(_name_of(path), path, names["apply"], baseline, tuple(wraps), slots, homes, control=control)


def _name_of(path: Path) -> str:
    """Of a shipped remedy "focal_loss", of other shipped files "combined/libra_rcnn", of one's own its path."""
    root, path = files.configs_dir().resolve(), path.resolve()
    if path.is_relative_to(root / "remedies"):
        return path.stem
    return path.relative_to(root).with_suffix("").as_posix() if path.is_relative_to(root) else str(path)


def apply_remedies(
    cfg: DictConfig, applied: Sequence[Applied], names: Sequence[str], config: str
) -> tuple[DictConfig, list[Applied]]:
    """`cfg` with the remedies `names`, and `applied` with them added; the arguments stay as they are.

    Args:
        applied: the remedies that are in `cfg` already.
        config: the config's name, for errors.

    Raises:
        ValueError: unknown remedy; one named twice; two that change the same key; one that needs a slot that is absent,
            acts on the other detector alone, or changes nothing.
    """
    applied = list(applied)
    for name in names:
        remedy = find_remedy(name)
        if remedy.name in [one.remedy.name for one in applied]:
            raise ValueError(f"remedy {remedy.name!r} is given twice, or is part of config {config!r} already")
        after = _applied_to(cfg, remedy, config)
        changed = tuple(path for path in changed_paths(cfg, after) if path != "remedies")
        if not changed:
            raise ValueError(f"remedy {remedy.name!r} changes nothing in config {_with_its_remedies(config, cfg)}")
        _refuse_collisions(remedy, changed, applied, cfg)
        applied.append(Applied(remedy, changed))
        cfg = after
        cfg.remedies = [*cfg.get("remedies", []), remedy.name]
    return cfg, applied


def _applied_to(cfg: DictConfig, remedy: Remedy, config: str) -> DictConfig:
    """A copy of `cfg` with `remedy`. Only existing keys can be set, or parameters that a node's target takes."""
    after = pickle.loads(pickle.dumps(cfg))  # a third of the time of copy.deepcopy
    OmegaConf.set_struct(after, False)
    if remedy.place:
        after = _dense_view(after, remedy, config)
    try:
        result = remedy.apply(after)
    except (ConfigAttributeError, ConfigKeyError) as error:  # it reads what is not there
        raise ValueError(_no_place(remedy, cfg, config, str(getattr(error, "full_key", "") or ""))) from error
    except ValueError as error:  # such as that of criterion_of
        where = _with_its_remedies(config, cfg)
        raise ValueError(f"remedy {remedy.name!r} does not fit config {where}: {error}") from error
    except AttributeError as error:  # an empty slot has no settings
        if not remedy.wraps or set(remedy.wraps) & set(cfg.get("remedies", [])):
            raise
        before = "+".join([remedy.wraps[0], remedy.name])
        raise ValueError(f"{remedy.name!r} wraps {' or '.join(remedy.wraps)}; give {before}") from error
    if result is not None:
        got = type(result).__name__
        raise ValueError(f"remedy {remedy.name!r}: apply must change cfg in place and return nothing, got a {got}")
    _refuse_elsewhere(after, remedy, _with_its_remedies(config, cfg))
    raw = contents(after)
    now = plain(raw) if not remedy.place else _put_back(plain(raw), cfg, remedy, config)
    if now != raw:  # making a config anew takes longer than all the rest
        after = OmegaConf.create(now)
    for key in _added(plain(cfg), now, ""):
        parent, _, last = key.rpartition(".")
        if not accepts(after, parent, last):
            raise ValueError(_no_place(remedy, cfg, config, key))
    return after


def _refuse_elsewhere(cfg: DictConfig, remedy: Remedy, where: str) -> None:
    """Raises ValueError if the remedy acts on the other kind of detector alone, as the `Home:` of its classes says."""
    rois = OmegaConf.select(cfg, "model.roi_heads") is not None  # those of the RPN's view are taken away
    there = "faster_rcnn" if rois else "retinanet"
    for home in remedy.homes:
        if home_alone(home) not in ("", there):
            raise ValueError(f"remedy {remedy.name!r} does not fit config {where}: its home is {home}")


def _dense_view(cfg: DictConfig, remedy: Remedy, config: str) -> DictConfig:
    """`cfg` as if it had one criterion, that of the RPN: a dense head, as a remedy for RetinaNet expects it."""
    node = OmegaConf.select(cfg, CRITERIA[remedy.place])
    if node is None:
        raise ValueError(
            f"remedy {remedy.name!r} needs an RPN ({CRITERIA[remedy.place]}), which {config!r} does not have"
        )
    parts = plain(cfg)
    parts["model"]["criterion"] = parts["model"]["rpn"]["criterion"]
    del parts["model"]["rpn"], parts["model"]["roi_heads"]
    return OmegaConf.create(parts)


def _put_back(view: dict, cfg: DictConfig, remedy: Remedy, config: str) -> dict:
    """The config of which `view` is the dense view, with what the remedy made of the criterion.

    Raises:
        ValueError: it changed something else, too.
    """
    before = plain(_dense_view(cfg, remedy, config))
    criterion, _ = view["model"].pop("criterion"), before["model"].pop("criterion")
    others = changed_paths(OmegaConf.create(before), OmegaConf.create(view))
    if others:
        raise ValueError(f"remedy {remedy.name!r}: it also changes {', '.join(others)}, outside of the RPN's criterion")
    asked = {str(value).rsplit(".", 1)[-1] for key, value in walk(criterion) if key.endswith("_target_")} & set(
        PER_CLASS
    )
    if asked:
        raise ValueError(
            f"remedy {remedy.name!r}: it goes by {' and '.join(sorted(asked))}, numbers of each class, and the RPN "
            "tells objects from background alone"
        )
    whole = plain(cfg)
    whole["model"]["rpn"]["criterion"] = criterion
    return whole


def _added(old: Any, new: Any, path: str) -> Iterator[str]:
    """The keys that `new` has and `old` lacks, but for those of a node that another took the place of."""
    if isinstance(old, list) and isinstance(new, list):
        pairs = [(str(i), before, after) for i, (before, after) in enumerate(zip(old, new, strict=False))]
    elif isinstance(old, dict) and isinstance(new, dict) and old.get("_target_") == new.get("_target_"):
        pairs = [(str(key), old[key], value) for key, value in new.items() if key in old]
        yield from (f"{path}.{key}" if path else str(key) for key in new if key not in old)
    else:
        return
    for key, before, after in pairs:
        yield from _added(before, after, f"{path}.{key}" if path else key)


def _no_place(remedy: Remedy, cfg: DictConfig, config: str, key: str) -> str:
    slots = slots_of(cfg)
    needed = [slot for slot in remedy.slots or [slot_at(key)] if slot in SLOTS and slot not in slots]
    needed = list(dict.fromkeys(needed))
    model = str(OmegaConf.select(cfg, "model._target_") or "without a name").rsplit(".", 1)[-1]
    has = f"config {_with_its_remedies(config, cfg)} (model {model}) has the slots {', '.join(slots) or 'none'}"
    if needed:
        return f"remedy {remedy.name!r} needs the slot {' and '.join(needed)} (at {key}); {has}"
    near = nearest_key(cfg, key)
    hint = f"did you mean {near!r}?" if near else has
    return f"remedy {remedy.name!r} sets {key}, which config {config!r} does not have; {hint}"


def _with_its_remedies(config: str, cfg: DictConfig) -> str:
    """The config's name for an error, with the remedies in it: one of them may have taken away what is missed."""
    there = cfg.get("remedies")
    return f"{config!r} with {', '.join(map(str, there))}" if there else repr(config)


def _refuse_collisions(remedy: Remedy, changed: Sequence[str], applied: Sequence[Applied], cfg: DictConfig) -> None:
    for earlier in applied:
        other = earlier.remedy
        if other.name in remedy.wraps:
            continue
        for mine in changed:
            for theirs in earlier.changed:
                if not (is_inside(mine, [theirs]) or is_inside(theirs, [mine])):
                    continue
                place = max(mine, theirs, key=len)
                slot = slot_at(place)
                what = f"fill the slot {slot!r} ({place})" if slot else f"change {place}"
                swap = f"; {other.name!r} wraps {remedy.name!r}, so name it after" if remedy.name in other.wraps else ""
                raise ValueError(f"remedies {other.name!r} and {remedy.name!r} both {what}; choose one{swap}")


def find_trusted(name: str) -> Remedy | None:
    """The remedy that a file names, None if it is not to be found or not trusted: no Python file runs for its name."""
    if name.endswith(".py") and not may_run(name):
        return None
    try:
        return find_remedy(name)
    except (ValueError, FileNotFoundError):
        return None


def known_changes(cfg: DictConfig, load: Callable[[str], DictConfig]) -> list[Applied]:
    """What the remedies named in a saved config changed, as far as their own files tell.

    A saved config does not say which of its keys a remedy set, so each is applied to its own baseline again. One that
    is not to be found or not trusted is left out.
    """
    applied = []
    for remedy in filter(None, (find_trusted(str(name)) for name in cfg.get("remedies") or [])):
        try:
            base = load(remedy.baseline)
            after = _applied_to(base, remedy, remedy.baseline)
        except (ValueError, FileNotFoundError):
            continue
        applied.append(Applied(remedy, tuple(changed_paths(base, after))))
    return applied
