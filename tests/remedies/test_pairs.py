"""Every pair of remedies: on different slots it trains two steps, on one slot it is refused with both names.

A fixed sample of SAMPLE pairs is run always, and with the slow tests ROTATED more, drawn by the date or by
IMBDET_PAIRS_SEED, which stands in the name of each test.
"""

import itertools
import os
import random
import re
from datetime import date

import pytest
import torch

from imbdet.config import instantiate, load_config, shipped_configs, slots_of
from imbdet.config.remedy import find_remedy
from imbdet.remedies import index
from tests.helpers import SMALL

SAMPLE, ROTATED = 20, 340
#: pairs that may be named together though both name the same slot -> why
EXCEPTIONS: dict[frozenset[str], str] = {
    frozenset((heads, "positive_roi_generator")): "of the RoI heads it sets append_objects, which those heads keep"
    for heads in ("cascade_rcnn", "iou_uniform_rois")
}


def all_pairs():
    """(baseline, a, b) of remedies that both fit the baseline, each pair once."""
    found = []
    for baseline in shipped_configs("baselines"):
        if not baseline.endswith("_shapes"):
            continue
        there = set(slots_of(load_config(baseline)))
        fitting = {entry.name: None for entry in index.entries() if entry.fits(baseline, there)}
        found += [(baseline, a, b) for a, b in itertools.combinations(fitting, 2)]
    return found


def chosen():
    """Parameters for pytest: the fixed sample, and the one of the seed, which is slow."""
    seed = int(os.environ.get("IMBDET_PAIRS_SEED") or date.today().toordinal())
    pairs = all_pairs()
    fixed = random.Random(0).sample(pairs, min(SAMPLE, len(pairs)))
    rest = [pair for pair in pairs if pair not in set(fixed)]
    rotated = random.Random(seed).sample(rest, min(ROTATED, len(rest)))
    parameters = []
    for sample, start, marks in ((fixed, "", ()), (rotated, f"seed{seed}-", pytest.mark.slow)):
        for pair in sample:
            name = f"{start}{pair[0].rsplit('/', 1)[-1]}-{pair[1]}+{pair[2]}"
            parameters.append(pytest.param(*pair, id=name, marks=marks))
    return parameters


def load(baseline, a, b):
    """The config with both, in the order that they allow."""
    try:
        return load_config(baseline, [a, b], SMALL)
    except ValueError as error:
        if "name it after" not in str(error):
            raise
        return load_config(baseline, [b, a], SMALL)


@pytest.mark.parametrize(("baseline", "a", "b"), chosen())
def test_a_pair(baseline, a, b):
    try:
        cfg = load(baseline, a, b)
    except ValueError as error:
        assert a in str(error) and b in str(error), f"the refusal must name both: {error}"
        reasons = r"both (fill the slot|change)|needs the slot|does not fit"
        assert re.search(reasons, str(error)), f"and say why: {error}"
        return
    shared = set(index.slots_needed(a)) & set(index.slots_needed(b))
    wraps = a in find_remedy(b).wraps or b in find_remedy(a).wraps
    assert not shared or wraps or frozenset((a, b)) in EXCEPTIONS, f"both fill {shared}, and are not refused"
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    batches = instantiate(cfg.dataloader.train).iterate()
    for _ in range(2):
        losses, stats = model(*next(batches))
        assert losses and all(torch.isfinite(loss) for loss in losses.values()), losses
        assert not any(torch.is_tensor(value) and value.requires_grad for value in stats.values())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_exceptions_are_about_remedies_that_exist():
    names = {entry.name for entry in index.entries()}
    assert all(pair <= names and why for pair, why in EXCEPTIONS.items())
