"""Cores from affinity and quota, by made-up control groups; and threads that do not spin."""

import os
import subprocess
import sys

import pytest

from imbdet.cores import usable_cores

SHOW = "import {first}; import os; print(os.environ.get('GOMP_SPINCOUNT'))"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def groups(root, cgroup, **files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cores"), [("200000 100000\n", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8)]
)
def test_version_2(tmp_path, text, cores):
    assert usable_cores(groups(tmp_path, "0::/job/step\n", job__step__cpuDOTmax=text)) == cores


def test_the_least_of_the_parents_counts(tmp_path):
    files = {"job__cpuDOTmax": "300000 100000", "job__step__cpuDOTmax": "max 100000"}
    assert usable_cores(groups(tmp_path, "0::/job/step\n", **files)) == 3


def test_a_container_sees_only_the_top(tmp_path):
    assert usable_cores(groups(tmp_path, "0::/host/path/unseen\n", cpuDOTmax="400000 100000")) == 4


@pytest.mark.parametrize(("quota", "cores"), [("250000", 3), ("-1", 8)])
def test_version_1(tmp_path, quota, cores):
    files = {"cpu__a__cpuDOTcfs_quota_us": quota, "cpu__a__cpuDOTcfs_period_us": "100000"}
    assert usable_cores(groups(tmp_path, "5:cpu,cpuacct:/a\n2:memory:/b\n", **files)) == cores


def test_no_control_group(tmp_path):
    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(
    ("first", "settings", "found"),
    [
        ("imbdet", {}, "1000"),
        ("imbdet", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("imbdet", {"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_spinning_is_limited_unless_the_user_has_decided(first, settings, found):
    inherited = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", SHOW.format(first=first)]
    out = subprocess.run(command, env={**inherited, **settings}, capture_output=True, text=True, check=True).stdout
    assert out.strip() == found
