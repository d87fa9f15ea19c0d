"""What is installed, and that README and docs name only commands, files and configs that exist."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import imbdet

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "history" not in page.parts]  # names what there was


@pytest.fixture
def setup_arguments(monkeypatch):
    """What setup.py gives to setuptools, run where torch cannot be imported."""
    setuptools = pytest.importorskip("setuptools")
    given = {}
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_ranges_admit_torch_from_2_6_on(setup_arguments):
    from packaging.requirements import Requirement

    ranges = {r.name: r.specifier for r in map(Requirement, setup_arguments["install_requires"])}
    assert all(version in ranges["torch"] for version in ("2.6.0", "2.14.1", "3.0")) and "2.5.1" not in ranges["torch"]
    assert "0.21.0" in ranges["torchvision"] and "0.29.1" in ranges["torchvision"]
    assert "2.3.0" in ranges["omegaconf"] and "2.4.0" in ranges["omegaconf"] and "2.5.0" not in ranges["omegaconf"]
    extras = {"pretrained", "sampling", "sweep", "export", "video", "wandb", "mlflow", "docs", "dev"}
    assert set(setup_arguments["extras_require"]) == extras
    assert setup_arguments["version"] == imbdet.__version__
    assert f"## {imbdet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_module_and_config_is_installed(setup_arguments):
    """A folder without __init__.py, or a config outside the glob, would be missing from the wheel and nowhere else."""
    packages = setup_arguments["packages"]
    for path in (ROOT / "imbdet").rglob("*.py"):
        assert ".".join(path.parent.relative_to(ROOT).parts) in packages, path
    assert setup_arguments["package_dir"]["imbdet.configs"] == "configs" and "imbdet.configs" in packages
    globs = setup_arguments["package_data"]
    shipped = {path for pattern in globs["imbdet.configs"] for path in (ROOT / "configs").glob(pattern)}
    assert shipped == set((ROOT / "configs").rglob("*.py")) and len(shipped) > 5
    templates = {path for pattern in globs["imbdet.report"] for path in (ROOT / "imbdet" / "report").glob(pattern)}
    assert templates == set((ROOT / "imbdet" / "report" / "templates").iterdir())


def test_console_script_leads_to_a_function(setup_arguments):
    from importlib import import_module

    name, target = setup_arguments["entry_points"]["console_scripts"][0].split("=")
    module, function = target.split(":")
    assert name == "imbdet" and callable(getattr(import_module(module), function))


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lists_its_targets_and_refuses_an_old_python(tmp_path):
    def make(*words):
        return subprocess.run(["make", "-C", str(ROOT), *words], capture_output=True, text=True)

    listed = make().stdout
    assert all(f"make {target}" in listed for target in ("demo", "test", "test-all", "lint", "help"))
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    refused = make("lint", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert refused.returncode and "is Python 3.9.2, imbdet needs Python 3.10 or newer" in refused.stderr
    missing = make("lint", f"PYTHON={tmp_path / 'nothing'}", f"VENV={tmp_path / 'venv'}")
    assert missing.returncode and "imbdet needs Python 3.10 or newer" in missing.stderr


def test_gate_runs_the_tests():
    gate = ROOT / ".ci" / "run"
    assert os.access(gate, os.X_OK)
    text = gate.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text and "make test" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_only_what_exists(page):
    """make targets, verbs, tools, shipped configs and linked files in README and docs."""
    from imbdet.commands import verbs
    from imbdet.config import shipped_configs

    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.S))
    assert set(re.findall(r"\bmake ([a-z-]+)", code)) <= targets
    assert set(re.findall(r"(?:^|[`\n ])imbdet ([a-z_]+)", code)) <= set(verbs())
    for name in re.findall(r"\btools/(\w+\.py)", text):
        assert (ROOT / "tools" / name).is_file(), name
    for name in re.findall(r"--config (?:configs/)?((?:baselines|remedies|combined)/[\w/]+)", code):
        assert name in shipped_configs(), name
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.slow
def test_wheel_works_away_from_the_checkout(tmp_path):
    """Build a wheel, unpack it elsewhere, and load a shipped config and the report's template from there."""
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".*", "output", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignore)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "site"
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(place), str(wheel)], check=True)
    shutil.rmtree(source)
    code = (
        "import imbdet, imbdet.config as c, jinja2; print(imbdet.__file__); print(c.configs_dir());"
        "print(imbdet.load_config('baselines/faster_rcnn_shapes').train.max_iter);"
        "jinja2.PackageLoader('imbdet.report').get_source(jinja2.Environment(), 'report.html')"
    )
    environment = {**os.environ, "PYTHONPATH": str(place)}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    file, configs, _ = ran.stdout.split()
    assert file.startswith(str(place)) and configs == str(place / "imbdet" / "configs")
