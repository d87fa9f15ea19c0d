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


def test_random_parts_are_not_frozen(tmp_path):
    """cRT without a finished run would train a classifier on noise; a backbone brings weights of its own."""
    words = ["train.freeze=['*','!*.cls_score']"]
    with pytest.raises(ValueError, match=r"keep 26 parameters at their random first values .* train.init_checkpoint="):
        train(config(tmp_path / "a", *words))
    shared = tmp_path / "shared.pth"
    state = instantiate(config(tmp_path).model).state_dict()
    for trained in ([], [name for name in state if "backbone" in name or "neck" in name]):
        torch.save({"model": state, "trained": trained}, shared)
        with pytest.raises(ValueError, match=r"random first values .*--start-keeps"):
            train(config(tmp_path / "b", *words, f"train.init_shared={shared}"))
    train(config(tmp_path / "c", "train.freeze=[backbone]"))
    torch.save({"model": state, "trained": list(state)}, shared)
    train(config(tmp_path / "d", *words, f"train.init_shared={shared}"))


@pytest.mark.parametrize("remedy", ["lws", "bags"])
def test_what_is_reset_may_be_missing_in_the_checkpoint_or_of_another_shape(tmp_path, remedy, capsys):
    """LWS has factors that a finished run has not, BAGS more logits; all else must fit."""
    path = tmp_path / "first.pth"
    torch.save({"model": instantiate(config(tmp_path).model).state_dict()}, path)
    words = [f"train.output_dir={tmp_path / remedy}", f"train.init_checkpoint={path}"]
    cfg = load_config("baselines/faster_rcnn_shapes", [remedy], [*WORDS, *words])
    if remedy == "bags":
        with pytest.raises(ValueError, match="does not fit FasterRCNN"):
            train(cfg)
        cfg.train.update(freeze=["*", "!*.cls_score"], reset=["*.cls_score"])
    before = load_file(path)["model"]
    train(cfg)
    after = load_file(tmp_path / remedy / "last.pth")["model"]
    changed = {name for name in after if name not in before or not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if name.startswith(CLASSIFIER) and (remedy == "bags" or "scale" in name)}
    assert "train.reset: " in capsys.readouterr().out
