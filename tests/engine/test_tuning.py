"""Tuning after training: which parameters, on which data, and that the judged split is never among them."""

import pytest

from imbdet.commands import run
from imbdet.config import load_config
from imbdet.engine import tuning


def config(*remedies):
    return load_config("baselines/faster_rcnn_shapes", remedies, ["data.train.num_images=12"])


@pytest.fixture
def asked(monkeypatch):
    """(gamma, split's data, num_images) of each evaluation; AP is best at gamma 0.4 and 0.6."""
    found = []

    def evaluate(cfg, checkpoint, split):
        node = cfg.dataloader[split].records
        found.append((cfg.model.calibration.gamma, node.split, node.num_images))
        return {"AP": {0.4: 0.3, 0.6: 0.3}.get(cfg.model.calibration.gamma, 0.2)}, None

    monkeypatch.setattr(tuning, "evaluate_checkpoint", evaluate)
    return found


@pytest.mark.parametrize(("split", "images"), [("train", 12), ("val", 300)])
def test_it_tries_all_values_on_the_split_and_takes_the_first_best(asked, split, images):
    cfg, lines = config("norcal"), []
    chosen = tuning.tune(cfg, "best.pth", split, lines.append)
    assert [gamma for gamma, *_ in asked] == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert {tuple(rest) for _, *rest in asked} == {(split, images)}
    assert chosen.model.calibration.gamma == 0.4 and chosen.data.val.split == "val"
    assert cfg.model.calibration.gamma == 0.6 and len(lines) == 7 and "gamma=0.4" in lines[-1]


def test_what_can_be_tuned():
    assert list(tuning.tunable(config("tau_norm"))) == ["model.roi_heads.classifier.tau"]
    assert tuning.tunable(config()) == {}
    with pytest.raises(ValueError, match="have none; give a --remedy that acts after training"):
        tuning.tune(config("class_weights"), "best.pth", "train")
    with pytest.raises(ValueError, match="have 2: "):
        tuning.tune(config("norcal", "tau_norm"), "best.pth", "train")


def test_the_judged_split_is_refused(capsys):
    with pytest.raises(SystemExit):
        run("evaluate", ["--run", "somewhere", "--remedy", "norcal", "--tune-on", "val", "--split", "val"])
    assert "would tune on what is judged" in capsys.readouterr().err
