"""The fuzzer finds what it is there to find, and a hundred inputs of the cheap kinds pass; `make fuzz` runs more."""

import os
import random
import sys

import pytest

from .__main__ import plan_cases, run_case
from .guard import Step, run_input
from .inputs import KINDS
from .mutations import as_json, changed, mutilate, places, reword

GATE = {"coco": 25, "results": 25, "yolo": 20, "voc": 12, "config": 8, "override": 6, "plan": 4, "pictures": 10}


def _step(function, name="load", **options):
    function.__name__ = name
    return Step(function=function, **options)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (lambda: [].pop(), "IndexError"),
        (lambda: os.system("true"), "executed: os.system"),
        (lambda: open("/dev/zero").close(), "executed: open /dev/zero"),
        (lambda: open("../secret.png").close(), "FileNotFoundError|secret"),
        (lambda: exec(compile("1", os.path.abspath("a.py"), "exec")), "executed: exec"),
        (lambda: exec("while True: pass"), "too long"),
        (lambda: open("sentinel", "w").close(), "the sentinel was written"),
    ],
)
def test_the_guard_sees(does, said, tmp_path):
    wrong = run_input([_step(lambda: does() and None, seconds=0.2)], tmp_path)
    assert any(part in line for part in said.split("|") for line in wrong), wrong
    assert run_input([_step(lambda: 0)], tmp_path / "..") == [] or "sentinel" in said


def test_the_guard_reads_exit_codes_and_messages(tmp_path, monkeypatch):
    def ends_with(code, out="", err=""):
        def verb(name, argv):
            print(out)
            print(err, file=sys.stderr)
            return code

        monkeypatch.setattr("tests.fuzz.guard.run", verb)
        return run_input([Step(["show_config"])], tmp_path)

    assert ends_with(0) == [] and ends_with(2, err="imbdet show_config: error: x is 1; it must be 2") == []
    assert "unexplained exit code 1" in ends_with(1)[0] and "unexplained exit code None" in ends_with(None)[0]
    assert "without a message" in ends_with(2, err="what")[0]
    assert "a traceback is printed" in ends_with(0, out="Traceback (most recent call last):")[0]


def test_what_passes_the_check_must_load(tmp_path, monkeypatch):
    from imbdet.data.records import Records

    monkeypatch.setattr("tests.fuzz.guard.run", lambda verb, argv: 0)

    def refuse():
        Records.subset(None, "no records")

    wrong = run_input([Step(["check_data", "data"]), _step(refuse, agrees=True)], tmp_path)
    assert len(wrong) == 1


def test_mutations_change_and_repeat():
    document = {"a": [1, {"b": "x y"}], "c": {"d": None}}
    assert len(places(document)) == 6
    for make in (
        lambda rng: as_json(rng, changed(rng, document)),
        lambda rng: mutilate(rng, b"0123456789" * 5),
        lambda rng: reword(rng, "a b\nc d"),
    ):
        once, again = ([make(random.Random(seed)) for seed in range(50)] for _ in range(2))
        assert once == again and len(set(once)) > 25
    assert document == {"a": [1, {"b": "x y"}], "c": {"d": None}}


def test_all_kinds_have_their_share():
    cases = plan_cases(1000)
    assert abs(len(cases) - 1000) < 10 and {case.partition(":")[0] for case in cases} == set(KINDS)
    assert plan_cases(10, "yolo")[-1] == "yolo:9"


@pytest.mark.parametrize("kind", GATE)
def test_some_inputs_of_the_cheap_kinds(kind, tmp_path):
    failed = {}
    for number in range(GATE[kind]):
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong = run_case(f"{kind}:{number}", 0, folder)
        if wrong:
            failed[f"python -m tests.fuzz --case {kind}:{number}"] = wrong
    assert not failed, failed


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_more_of_every_kind(kind, tmp_path):
    failed = {}
    for number in range(40 if KINDS[kind][1] else 10):
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong = run_case(f"{kind}:{number}", 17, folder)
        if wrong:
            failed[f"python -m tests.fuzz --case {kind}:{number} --seed 17"] = wrong
    assert not failed, failed
