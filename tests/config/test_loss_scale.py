"""The key loss_scale: what stood in a slot before is put beside it, found from the configs, and survives saving."""

import json

import pytest

import imbdet
from imbdet.config import changed_paths, criterion_of, instantiate, load_config, save_config
from imbdet.modeling.defaults import SmoothL1
from imbdet.modeling.loss_scale import LossScale

TWO, ONE = "baselines/faster_rcnn_shapes", "baselines/retinanet_shapes"
MATCH = ["loss_scale=match"]


def test_published_is_the_default_and_changes_nothing():
    cfg = load_config(TWO, ["giou_loss"])
    assert cfg.loss_scale == "published" and "loss_scale" not in criterion_of(cfg)
    assert cfg == load_config(TWO, ["giou_loss"], ["loss_scale=published"])


@pytest.mark.parametrize("base", [TWO, ONE])
def test_match_puts_the_baselines_loss_beside_the_remedys(base):
    cfg = load_config(base, ["giou_loss"], MATCH)
    assert changed_paths(load_config(base, ["giou_loss"]), cfg) == [
        f"model.{'roi_heads.' if base == TWO else ''}criterion._target_",
        f"model.{'roi_heads.' if base == TWO else ''}criterion.loss_scale",
        "loss_scale",
    ]
    cfg.model.num_classes = 3
    made = instantiate(criterion_of(cfg)).loss_scale
    assert isinstance(made, LossScale) and isinstance(made.regression, SmoothL1) and made.classification is None
    assert made.weights == (1.0, 1.0), "the baseline's weight, not the remedy's 10"


def test_a_remedys_own_config_and_several_remedies():
    cfg = load_config("remedies/spatial_regression/giou_loss", overrides=MATCH)
    assert criterion_of(cfg).loss_scale.regression._target_.endswith("SmoothL1")
    both = criterion_of(load_config(ONE, ["focal_loss", "l2_loss"], MATCH)).loss_scale
    assert both.classification._target_.endswith("SigmoidCrossEntropy") and both.regression_weight == 1.0


def test_an_override_counts_as_a_change_too():
    word = "model.roi_heads.criterion.regression={_target_: imbdet.remedies.spatial_regression.l2_loss.L2Loss}"
    assert criterion_of(load_config(TWO, overrides=[word, *MATCH])).loss_scale.regression.beta == 0.0


def test_a_baseline_has_nothing_to_match():
    assert "loss_scale" not in criterion_of(load_config(TWO, overrides=MATCH))
    assert "loss_scale" not in criterion_of(load_config(TWO, ["ohem"], MATCH)), "a weighting is no loss"


def test_other_logits_are_refused_when_the_model_is_made():
    cfg = load_config(TWO, ["focal_loss"], MATCH)
    cfg.model.num_classes = 3
    with pytest.raises(ValueError, match="FocalLoss and SoftmaxCrossEntropy, which it replaces, do not read the same"):
        instantiate(cfg.model)
    cfg = load_config(ONE, ["focal_loss"], MATCH)
    cfg.model.num_classes = 3
    instantiate(cfg.model)


def test_a_saved_config_is_complete(tmp_path):
    save_config(load_config(TWO, ["giou_loss"], MATCH), tmp_path / "config.yaml")
    again = load_config(tmp_path)
    assert again == load_config(TWO, ["giou_loss"], MATCH)
    assert load_config(tmp_path, overrides=MATCH) == again
    off = load_config(tmp_path, overrides=["loss_scale=published"])
    assert "loss_scale" not in criterion_of(off) and criterion_of(off)._target_.endswith(".Criterion")


def test_a_config_of_before_there_was_a_scaled_criterion(tmp_path):
    """Its plain Criterion had the key; it loads as what is saved today."""
    path, cfg = tmp_path / "config.yaml", load_config(TWO, ["giou_loss"], MATCH)
    save_config(cfg, path)
    path.write_text(path.read_text().replace("loss_scale.ScaledCriterion", "criterion.Criterion"))
    assert load_config(path) == cfg


def test_a_saved_baseline_still_knows_its_loss_a_saved_remedy_does_not(tmp_path):
    save_config(load_config(TWO), tmp_path / "config.yaml")
    assert criterion_of(load_config(tmp_path, ["giou_loss"], MATCH)).loss_scale.regression.beta == 0.0
    save_config(load_config(TWO, ["giou_loss"]), tmp_path / "config.yaml")
    with pytest.raises(ValueError, match="saved with the remedies giou_loss, so what they replaced is not known"):
        load_config(tmp_path, overrides=MATCH)


def test_another_value():
    with pytest.raises(ValueError, match="loss_scale is 'equal'; it must be one of published, match"):
        load_config(TWO, overrides=["loss_scale=equal"])


def test_the_factor_is_logged_in_training(tmp_path):
    """L2 of RoIs at the start is not as large as L1; matched, the first step's loss is the baseline's."""
    small = ["data.train.num_images=8", "dataloader.train.batch_size=2", "dataloader.train.num_workers=0"]
    small += [
        "train.max_iter=2",
        "train.log_period=1",
        "train.device=cpu",
        "train.eval_period=0",
        "train.num_threads=1",
    ]
    small += ["train.tensorboard=false", "train.val_pictures=0", "train.val_loss_batches=1", "data.val.num_images=2"]
    small += ["dataloader.val.num_workers=0"]
    logs = {}
    for name, remedies in (("plain", []), ("l2", ["l2_loss"])):
        folder = tmp_path / name
        imbdet.train(load_config(TWO, remedies, [*small, *MATCH, f"train.output_dir={folder}"]))
        logs[name] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert logs["l2"][0]["loss/box_reg"] == pytest.approx(logs["plain"][0]["loss/box_reg"], rel=1e-4)
    assert logs["l2"][0]["roi/loss_scale/regression"] > 0 and "roi/loss_scale/regression" not in logs["plain"][0]
