"""`import imbdet`: light, with everything promised behind it."""

import subprocess
import sys

import pytest

import imbdet

HEAVY = ("matplotlib", "tensorboard", "hotcoco", "pycocotools", "timm", "scipy", "torchvision")


def test_the_public_names_are_there():
    for name in imbdet.__all__:
        assert name == "__version__" or callable(getattr(imbdet, name)), name
    assert set(imbdet.__all__) <= set(dir(imbdet))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        imbdet.trian  # noqa: B018


def test_importing_stays_light():
    code = f"import sys, imbdet, imbdet.config, imbdet.cli; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
