"""Section 9: each rule applies where its measure says so, and never says more than the evidence."""

from pathlib import Path

import numpy as np
import pytest

from imbdet.diagnose.advice import command_of, run_before, side_by_side
from imbdet.diagnose.rules import EVIDENCE, RULES, UNKNOWN, advise, look_up
from imbdet.evaluation.detections import Detections
from imbdet.remedies.index import entries

from .helpers import box, make_records


def sections(**values):
    made = {}
    for path, value in values.items():
        node = made
        *parents, last = path.split("/")
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return made


def test_every_remedy_of_a_rule_exists():
    known = {entry.name for entry in entries()}
    assert {name for rule in RULES for name in rule.remedies} <= known
    assert set(EVIDENCE) <= known
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.refuted_by and rule.reason and rule.source for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_applies_on_its_side_of_the_limit_only(rule):
    keys = [part if part != "*" else "train" for part in rule.measure.split(".")]

    def at(value):
        node = value
        for key in reversed(keys):
            node = [0, 0, node] if key == "2" else {key: node}
        return [f.rule for f in advise(node, "train", lambda name: f"run {name}")]

    step = 0.01
    inside, outside = (-step, step) if rule.below else (step, -step)
    assert at(rule.limit + inside) == [rule.name] and at(rule.limit) == at(rule.limit + outside) == []


def test_nothing_to_do_and_nothing_measured():
    assert advise({}, "train", str) == []
    assert advise({"classes": {"imbalance": {"train": {"ratio": None}}}}, "train", str) == []
    assert look_up({"a": {"train": [1, 2.5]}}, "a.*.1", "train") == 2.5 and look_up({"a": "x"}, "a", "train") is None


def test_a_finding_says_no_more_than_the_evidence(monkeypatch):
    data = {"classes": {"imbalance": {"train": {"ratio": 25.0}}}}
    (finding,) = advise(data, "train", lambda name: None if name == "class_weights" else f"run {name}")
    assert "25" in finding.says and finding.measure == "classes.imbalance.train.ratio"
    leak = advise({"overlap": {"largest_leak": 0.0115}}, "train", str)
    assert leak[0].says.startswith("1.15 % of the pictures")
    assert "class_weights" not in [remedy.name for remedy in finding.remedies]
    assert all(remedy.evidence == EVIDENCE.get(remedy.name, UNKNOWN) for remedy in finding.remedies)
    monkeypatch.delitem(EVIDENCE, "repeat_factor_sampling", raising=False)
    (finding,) = advise(data, "train", str)
    assert {one.name: one.evidence for one in finding.remedies}["repeat_factor_sampling"] == UNKNOWN
    monkeypatch.setitem(EVIDENCE, "repeat_factor_sampling", "helped here by +1.0 AP, 5 seeds")
    (finding,) = advise(data, "train", str)
    assert finding.remedies[0].evidence == "helped here by +1.0 AP, 5 seeds"


def test_commands_fit_the_config_and_parse():
    """A remedy of RoI heads is not offered for RetinaNet; the command is one that `imbdet compare` understands."""
    import shlex

    from imbdet.commands.compare import _parser

    command = command_of("baselines/retinanet_lite0_custom", "my data", "my data")
    assert command("cascade_rcnn") is None
    words = shlex.split(command("repeat_factor_sampling"))
    args = _parser().parse_intermixed_args(words[2:])
    assert args.remedy == ["repeat_factor_sampling"] and args.overrides == ["data.root=my data"]
    assert args.out == "output/my_data_repeat_factor_sampling" and args.seeds == "5"


def test_the_run_before_is_the_baseline_of_the_same_seed(tmp_path):
    for arm in ("baseline", "focal_loss"):
        (tmp_path / "runs" / arm / "seed_0").mkdir(parents=True)
    run, baseline = (tmp_path / "runs" / arm / "seed_0" for arm in ("focal_loss", "baseline"))
    assert run_before(run) == baseline and run_before(baseline) is None and run_before(tmp_path) is None
    assert run_before(run, tmp_path) == tmp_path


def test_before_and_after_are_the_same_measures():
    """A detector that finds a only, and one that finds one of two b, too: AP of b rises, half of it is still missed."""
    from imbdet.diagnose.run import Trained, diagnose_run

    records = make_records([[box(0, 0, 0), box(1, 50, 50), box(1, 50, 0)]], classes=("a", "b"))
    rows = np.array([[0, 0.9, 0, 0, 20, 20], [1, 0.8, 50, 50, 20, 20]], dtype=float)

    def numbers(found):
        given = Detections(np.full(len(found), 10), found[:, 0], found[:, 1], found[:, 2:], ("a", "b"))
        return diagnose_run(Trained(given, records, "val"), records)

    found = side_by_side(numbers(rows[:1]), numbers(rows), (Path("x/baseline/seed_0"), Path("x/more/seed_0")))
    assert found["runs"] == ["baseline/seed_0", "more/seed_0", "difference"]
    half = 51 / 101  # one of two, found at once
    assert found["rows"]["AP of b"] == pytest.approx([0, half, half])
    assert found["rows"]["Miss errors cost (AP50)"] == pytest.approx([0, (1 - half) / 2, (1 - half) / 2])
    assert found["rows"]["objects found with their class, pooled"] == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    assert "APs" in found["rows"] and "APl" not in found["rows"]  # no large object
