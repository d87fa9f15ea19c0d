"""Section 9: each rule applies where its measure says so, and never says more than the evidence."""

import pytest

from imbdet.diagnose.advice import before_after, command_of
from imbdet.diagnose.rules import EVIDENCE, RULES, UNKNOWN, advise, look_up
from imbdet.remedies.index import entries


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
    assert {remedy.evidence for remedy in finding.remedies} == {UNKNOWN}
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


def test_before_and_after_of_a_comparison(tmp_path):
    import json

    for arm, ap in (("baseline", 0.2), ("focal_loss", 0.25)):
        folder = tmp_path / "runs" / arm / "seed_0"
        folder.mkdir(parents=True)
        content = {"AP": ap, "APs": -1, "per_class": [{"name": "a", "AP": ap}, {"name": "b", "AP": None}]}
        (folder / "result.json").write_text(json.dumps({"evaluation": content}))
    found = before_after(tmp_path / "runs" / "focal_loss" / "seed_0")
    assert found["runs"] == ["baseline/seed_0", "focal_loss/seed_0", "difference"]
    assert found["rows"] == {"AP": [0.2, 0.25, pytest.approx(0.05)], "AP of a": [0.2, 0.25, pytest.approx(0.05)]}
    assert before_after(tmp_path / "runs" / "baseline" / "seed_0") is None
    assert before_after(tmp_path / "runs" / "focal_loss" / "seed_0", tmp_path) is None
