"""A default of a remedy is a published number: none changes unnoticed."""

import json

from .declared import FILE, declared


def test_declared_defaults_are_those_recorded():
    recorded, found = json.loads(FILE.read_text(encoding="utf-8")), declared()
    changed = {name: (recorded.get(name), found.get(name)) for name in recorded | found}
    changed = {name: both for name, both in changed.items() if both[0] != both[1]}
    assert not changed, f"changed defaults (on purpose: python -m tests.remedies.declared): {changed}"
    assert (
        found["ghm_c.GHMC"]["bins"] == 30 and found["repeat_factor_sampling.RepeatFactorSampling"]["max_repeats"] == 10
    )
