"""Six detectors give the losses that were recorded, on any processor up to rounding."""

import json

import pytest

from .recorded_losses import DETECTORS, FILE, STEPS, first_losses


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_the_first_losses_are_those_recorded(name):
    recorded = json.loads(FILE.read_text(encoding="utf-8"))[name]
    found = first_losses(name)
    assert len(recorded) == len(found) == STEPS
    for before, now in zip(recorded, found, strict=True):
        assert now == pytest.approx(before, rel=1e-4, abs=1e-6)
