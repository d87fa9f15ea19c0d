"""Decoupled training as settings: a classifier that starts anew on a frozen detector (Kang et al., 2020, cRT)."""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.engine.checkpoint import load_file
from imbdet.engine.loop import train
from imbdet.engine.seed import seed_everything
from tests.remedies.engine_checks import SMALL

CLASSIFIER = "roi_heads.box_predictor.cls_score"
WORDS = [*SMALL, "data.train.num_images=4", "train.max_iter=1", "train.overwrite=true"]


def config(folder, *words):
    return load_config("baselines/faster_rcnn_shapes", [], [*WORDS, f"train.output_dir={folder}", *words])


@pytest.mark.slow
def test_only_the_reset_classifier_learns(tmp_path, capsys):
    train(config(tmp_path / "first", "optimizer.lr=0.1"))
    before = load_file(tmp_path / "first" / "last.pth")["model"]
    words = [f"train.init_checkpoint={tmp_path}/first/last.pth", "train.freeze=['*','!*.cls_score']"]
    words += ["train.reset=['*.cls_score']", "optimizer.lr=0.0"]
    cfg = config(tmp_path / "second", *words)
    train(cfg)
    after = load_file(tmp_path / "second" / "last.pth")["model"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {f"{CLASSIFIER}.weight", f"{CLASSIFIER}.bias"}, "a frozen norm or weight has moved"
    seed_everything(cfg.train.seed)
    fresh = instantiate(cfg.model).state_dict()
    assert torch.equal(after[f"{CLASSIFIER}.weight"], fresh[f"{CLASSIFIER}.weight"]), "not the initial values"
    assert "train.reset: 2 entries keep their initial values" in capsys.readouterr().out

    train(config(tmp_path / "third", *words[:-1], "optimizer.lr=0.1", "optimizer.weight_decay=0.5"))
    learned = load_file(tmp_path / "third" / "last.pth")["model"]
    assert {name for name in before if not torch.equal(after[name], learned[name])} == changed


def test_a_setting_that_is_no_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train.freeze"):
        train(config(tmp_path, "train.freeze=backbone"))
