"""Every remedy on every shapes baseline and in the RPN: refused in one line, or its own code runs in a training step.

What only acts at test (calibrations) is asked in a detection. A fixed sample is run always, all with the slow tests.
"""

import functools
import inspect
import random
import re
import sys

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.config.build import locate
from imbdet.config.difference import changed_paths
from imbdet.config.keys import walk
from imbdet.config.lazy import plain
from imbdet.remedies import index
from imbdet.slots import Slot
from tests.helpers import SHAPES, SMALL

SAMPLE = 8
#: methods that only make, note or tell; what they do must show elsewhere
APART = ("__init__", "__init_subclass__", "build", "describe", "report", "start", "num_logits", "initial_bias")

#: what only acts after a while -> the settings by which it acts at once
AT_ONCE = dict.fromkeys(
    ("adversarial_spatial_dropout", "adversarial_spatial_transformer"),
    [f"model.roi_heads.region_features.phases.{phase}=0" for phase in ("detector", "adversary")],
)


def cases():
    """(baseline, name) of all remedies, and of all at the RPN."""
    found = [(baseline, entry.name + place) for baseline in SHAPES for entry in ENTRIES for place in ("", "@rpn")]
    return [case for case in found if "faster_rcnn" in case[0] or not case[1].endswith("@rpn")]


ENTRIES = list({entry.name: entry for entry in index.entries()}.values())
FIXED = random.Random(1).sample(cases(), SAMPLE)
CASES = [pytest.param(*case, marks=() if case in FIXED else pytest.mark.slow, id="-".join(case)) for case in cases()]


class Calls:
    """Names the methods of `kinds` that run."""

    def __init__(self, kinds):
        self.of = {}
        for kind in kinds:
            own = [kind, *(base for base in kind.__mro__[1:] if base.__module__.startswith(kind.__module__))]
            own = own if _methods(own) else kind.__mro__  # nothing of its own: what it inherits
            for name, function in _methods(own).items():
                self.of[function.__code__] = f"{kind.__name__}.{name}"
        self.ran = set()

    def __enter__(self):
        sys.setprofile(lambda frame, event, _: self.ran.add(self.of.get(frame.f_code)))
        return self

    def __exit__(self, *error):
        sys.setprofile(None)
        self.ran.discard(None)


def _methods(kinds):
    found = {}
    for kind in reversed(kinds):
        if kind in Slot.__subclasses__() or kind is Slot or kind.__module__.startswith("torch"):
            continue
        members = {name: inspect.unwrap(getattr(value, "fget", value)) for name, value in vars(kind).items()}
        found.update({k: f for k, f in members.items() if inspect.isfunction(f) and k not in APART})
    return found


@functools.cache
def without(baseline):
    return load_config(baseline, [], SMALL)


@pytest.mark.parametrize(("baseline", "name"), CASES)
def test_it_is_refused_or_acts(baseline, name):
    try:
        cfg = load_config(baseline, [name], [*SMALL, *AT_ONCE.get(name, ())])
    except ValueError as error:
        text = str(error)
        assert "\n" not in text and f"remedy {name!r}" in text
        reasons = (
            r"needs the slot|its home is \w+ alone|RPN's criterion has|the RPN tells|needs an RPN|outside of the RPN"
        )
        assert re.search(reasons, text), f"and say why: {error}"
        return
    changed = [path for path in changed_paths(without(baseline), cfg) if path != "remedies"]
    before, after = (dict(walk(plain(one))) for one in (without(baseline), cfg))
    put = {value for key, value in after.items() if key.endswith("_target_") and before.get(key) != value}
    bare = name.partition("@")[0]
    kinds = {locate(value) for value in put if str(value).startswith("imbdet.remedies.")}
    kinds = {kind for kind in kinds if inspect.isclass(kind) and kind.__module__.endswith(f".{bare}")}
    assert changed and kinds, "it changes the config, and puts a class of its own there"
    torch.manual_seed(0)
    with Calls(kinds) as calls:
        batches = instantiate(cfg.dataloader.train).iterate()
        model = instantiate(cfg.model).train()
        images, targets = next(batches)
        losses, _ = model(images, targets)
        sum(losses.values()).backward()
        with torch.no_grad():
            model.eval()(images)
    idle = {kind.__name__ for kind in kinds} - {name.split(".")[0] for name in calls.ran}
    assert not idle, f"{', '.join(idle)} is put there and never asked; what ran is {sorted(calls.ran)}"


def test_what_is_asked_is_seen():
    """The check itself: TAL in RoI heads, where it is refused, would be asked for its first pass alone."""
    from imbdet.remedies.spatial_location.tal import TAL

    with Calls([TAL]) as calls:
        TAL()(torch.rand(1, 2, 5), torch.ones(1, 2, dtype=torch.bool))
    assert not calls.ran
