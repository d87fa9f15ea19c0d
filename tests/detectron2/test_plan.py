"""What a remedy becomes in a config of detectron2. No detectron2 is needed: targets are names."""

import pytest
from omegaconf import OmegaConf

import imbdet.detectron2 as adapter
from imbdet.detectron2.plan import Facts, able, plan

NAMES = ("my_train",)


def lazy(kind="faster_rcnn"):
    """The parts of a LazyConfig that `apply` reads."""
    predictor = {"_target_": "detectron2.modeling.roi_heads.FastRCNNOutputLayers", "num_classes": "${...num_classes}"}
    heads = {
        "_target_": "detectron2.modeling.roi_heads.StandardROIHeads",
        "num_classes": 3,
        "batch_size_per_image": 64,
        "positive_fraction": 0.5,
        "box_predictor": {**predictor, "num_classes": "${..num_classes}"},
    }
    if kind == "cascade":
        del heads["box_predictor"]
        heads.update(_target_="detectron2.modeling.roi_heads.CascadeROIHeads", box_predictors=[dict(predictor)] * 3)
    model = {
        "_target_": "detectron2.modeling.GeneralizedRCNN",
        "proposal_generator": {"_target_": "detectron2.modeling.proposal_generator.RPN", "batch_size_per_image": 128},
        "roi_heads": heads,
    }
    if kind == "retinanet":
        model = {"_target_": "detectron2.modeling.RetinaNet", "num_classes": 3, "anchor_matcher": {}}
    dataset = {"_target_": "detectron2.data.get_detection_dataset_dicts", "names": "my_train", "filter_empty": False}
    return OmegaConf.create({"model": model, "dataloader": {"train": {"dataset": dataset}}})


def test_class_weights_and_ohem_stand_where_they_act():
    cfg = adapter.apply(lazy(), [{"class_weights": {"rule.power": 1.0}}, "giou_loss", "repeat_factor_sampling"])
    predictor = cfg.model.roi_heads.box_predictor
    assert predictor._target_ == "imbdet.detectron2.roi.Slots"
    assert predictor.weighting._target_.endswith(".ClassWeights") and predictor.weighting.rule.power == 1.0
    assert predictor.weighting.counts.records.names == ["my_train"]
    assert not predictor.weighting.counts.records.filter_empty
    assert predictor.regression._target_.endswith(".GIoULoss") and predictor.regression_weight == 10.0
    assert "classification" not in predictor, "what no remedy fills stays detectron2's"
    assert cfg.model.roi_heads._target_.startswith("detectron2."), "nothing acts there"
    assert cfg.dataloader.train.sampler._target_.endswith(".ImageStream")
    assert cfg.dataloader.train.sampler.image_sampler.call.endswith(".RepeatFactorSampling")


def test_ohem_takes_the_sampling_of_the_heads_and_its_own_divisor():
    found = plan(Facts("faster_rcnn", 3), [{"ohem": {"per_image": 20}}])
    assert found["roi_heads"]["region_sampler"]["_target_"].endswith(".AllRegions")
    assert found["box_predictor"]["normalizer"]["count"] == found["box_predictor"]["weighting"]["per_image"] == 20


def test_numbers_of_the_users_model_reach_the_remedy():
    cfg = adapter.apply(lazy(), ["foreground_balanced_sampling"])
    sampler = cfg.model.roi_heads.region_sampler
    assert (sampler.per_image, sampler.fraction) == (64, 0.5)
    assert cfg.model.roi_heads._target_ == "imbdet.detectron2.roi.SlotsROIHeads"


def test_every_stage_of_a_cascade_gets_it_and_the_dense_detector_whole():
    cfg = adapter.apply(lazy("cascade"), ["softmax_focal_loss", "iou_balanced_sampling"])
    targets = [one.classification._target_ for one in cfg.model.roi_heads.box_predictors]
    assert len(targets) == 3 and all(one.endswith(".SoftmaxFocalLoss") for one in targets)
    assert cfg.model.roi_heads._target_ == "imbdet.detectron2.roi.SlotsCascadeROIHeads"
    cfg = adapter.apply(lazy("retinanet"), ["ghm_c", "ghm_r"])
    assert cfg.model._target_ == "imbdet.detectron2.dense.SlotsRetinaNet"
    assert cfg.model.classification.bins == 30 and cfg.model.regression_weight == 2.5


def test_calibration_acts_at_test():
    cfg = adapter.apply(lazy("cascade"), ["norcal"])
    for predictor in cfg.model.roi_heads.box_predictors:
        assert predictor.calibration._target_.endswith(".NorCal")
    cfg = adapter.apply(lazy("retinanet"), ["fracal"])
    assert cfg.model.calibration._target_.endswith(".FRACAL")


def test_a_remedy_sent_to_the_rpn_acts_there_alone():
    cfg = adapter.apply(lazy(), ["focal_loss@rpn"])
    assert cfg.model.proposal_generator._target_ == "imbdet.detectron2.dense.SlotsRPN"
    assert cfg.model.proposal_generator.classification._target_.endswith(".FocalLoss")
    assert cfg.model.roi_heads.box_predictor._target_.startswith("detectron2.")


@pytest.mark.parametrize(
    ("kind", "remedy", "reason"),
    [
        ("faster_rcnn", "balanced_feature_pyramid", "model.neck, but the neck is a part of your backbone"),
        ("faster_rcnn", "adversarial_spatial_dropout", "region_features, but detectron2 pools and classifies"),
        ("faster_rcnn", "cascade_rcnn", "replaces the RoI heads"),
        ("faster_rcnn", "kl_loss", "no voting after NMS"),
        ("faster_rcnn", "dfl", "criterion.regression, but detectron2 decodes deltas"),
        pytest.param("retinanet", "hierarchical_shot", "replaces the detector", marks=pytest.mark.slow),
        pytest.param("retinanet", "cascade_rcnn", "needs the slot roi_heads", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_act_is_refused_with_the_reason_and_those_that_can(kind, remedy, reason):
    with pytest.raises(ValueError, match=reason) as error:
        plan(Facts(kind, 3, names=NAMES), [remedy])
    listed = str(error.value).rsplit("remedies that can: ", 1)[1].split(", ")
    assert listed == list(able(kind)) and {"class_weights", "ohem"} <= set(listed) and remedy not in listed


def test_a_part_that_cannot_act_can_be_left_out_by_its_setting():
    found = plan(Facts("faster_rcnn", 3), [{"kl_loss": {"voting": None}}])
    assert found["box_predictor"]["regression"]["_target_"].endswith(".KLLoss")


@pytest.mark.parametrize(
    ("remedies", "message"),
    [
        (["class_wieghts"], "did you mean 'class_weights'"),
        ([{"class_weights": {"pwoer": 1}}], "has no setting 'pwoer'; it fills model.roi_heads.criterion.weighting"),
        (["giou_loss", "ciou_loss"], "both fill the slot 'regression'"),
        ([3], "remedies are names or"),
        ([], "needs remedies"),
    ],
)
def test_mistakes_are_named(remedies, message):
    with pytest.raises(ValueError, match=message):
        adapter.apply(lazy(), remedies)


def test_data_must_be_named_where_a_remedy_looks_at_them():
    cfg = lazy()
    del cfg["dataloader"]
    with pytest.raises(ValueError, match="need the data: name it, as in apply"):
        adapter.apply(cfg, ["class_weights"])
    assert adapter.apply(cfg, ["class_weights"], dataset="other").model.roi_heads.box_predictor.weighting
    assert adapter.apply(cfg, ["giou_loss"]).model.roi_heads.box_predictor.regression, "one that does not look"


def test_parts_that_are_not_detectron2s_own_are_left_alone():
    cfg = lazy()
    cfg.model.roi_heads.box_predictor._target_ = "mine.Predictor"
    with pytest.raises(
        ValueError, match="box_predictor is Predictor; imbdet's slots take the place of FastRCNNOutputL"
    ):
        adapter.apply(cfg, ["giou_loss"])
    cfg = lazy()
    cfg.dataloader.train.sampler = {"_target_": "mine.Sampler"}
    with pytest.raises(ValueError, match=r"dataloader.train.sampler is set already"):
        adapter.apply(cfg, ["repeat_factor_sampling"])
    with pytest.raises(ValueError, match="neither roi_heads with a box_predictor"):
        adapter.apply(OmegaConf.create({"model": {"_target_": "mine.Model"}}), ["giou_loss"])


def test_without_detectron2_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(adapter, "is_there", lambda: False)
    with pytest.raises(ImportError, match="source tree .* on PYTHONPATH"):
        adapter.Slots  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'Slot'"):
        adapter.Slot  # noqa: B018
