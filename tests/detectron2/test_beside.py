"""Our slots inside detectron2 itself, beside its own model: run where detectron2 can be imported.

What a run beside it gave is recorded in numbers.json and checked everywhere.
"""

import functools
import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

import imbdet.detectron2 as adapter

FOLDER = Path(__file__).parent
NUMBERS = json.loads((FOLDER / "numbers.json").read_text())
DETECTORS = ("faster_rcnn", "cascade_rcnn", "retinanet")
absent = pytest.mark.skipif(not adapter.is_there(), reason="detectron2's source tree is not on PYTHONPATH")


def beside(test):
    """A test that needs detectron2 itself: slow, so that the gate counts no test that no machine of it can run."""
    return pytest.mark.slow(absent(test))


@functools.cache
def runs():
    sys.path.insert(0, str(FOLDER))
    return importlib.import_module("runs")


@pytest.mark.parametrize("case", list(NUMBERS["neutral"]))
def test_the_recorded_models_agree_to_5_decimals(case):
    theirs, mine = NUMBERS["neutral"][case]["detectron2"], NUMBERS["neutral"][case]["imbdet"]
    assert mine["losses"] == pytest.approx(theirs["losses"], abs=1e-5) and min(theirs["losses"].values()) > 0
    assert mine["gradient"] == pytest.approx(theirs["gradient"], rel=1e-6)
    for ours, own in zip(mine["detections"], theirs["detections"], strict=True):
        assert ours == pytest.approx(own, rel=1e-6) and own[0] > 0


def test_twelve_recorded_remedies_learn_and_each_is_another_training():
    training = NUMBERS["training"]
    assert len(training) == 12
    losses = [one["losses"] for one in training.values()]
    # RetinaNet's divisor begins at 100 and falls by a tenth a step, which alone would raise its loss
    assert all(len(one) == 10 and 0 < min(one[1:]) < one[0] / 0.9 for one in losses)
    assert len({tuple(one) for one in losses}) == 12
    assert all(len(one["detections"]) == 2 for one in training.values())


@beside
@pytest.mark.parametrize("empty", [False, True], ids=["objects", "one picture empty"])
@pytest.mark.parametrize("name", DETECTORS)
def test_without_remedies_losses_gradients_and_detections_are_detectron2s(name, empty):
    found = runs().beside(name, empty)
    theirs, mine = found["detectron2"], found["imbdet"]
    assert mine["losses"] == pytest.approx(theirs["losses"], abs=1e-5)
    assert mine["gradient"] == pytest.approx(theirs["gradient"], rel=1e-5)
    for ours, own in zip(mine["detections"], theirs["detections"], strict=True):
        assert ours == pytest.approx(own, rel=1e-5)
    recorded = NUMBERS["neutral"][f"{name}{' empty' * empty}"]["detectron2"]["losses"]
    assert theirs["losses"] == pytest.approx(recorded, abs=1e-3), "numbers.json is of another run"


@beside
@pytest.mark.parametrize("remedy", list(NUMBERS["training"]))
def test_ten_steps_with_a_remedy_are_the_recorded_ones(remedy):
    assert runs().train(remedy)["losses"] == pytest.approx(NUMBERS["training"][remedy]["losses"], rel=1e-2)


@beside
@pytest.mark.parametrize("name", ["faster_rcnn", "cascade_rcnn"])
def test_our_sampling_of_regions_with_detectron2s_own_rule_changes_nothing(name):
    from imbdet.detectron2.matched import OwnSampling

    theirs, mine = runs().pair(name)
    mine.roi_heads.region_sampler = OwnSampling(48, 0.25)
    for empty in (False, True):
        own, gradient = runs().step(theirs, runs().batch(empty))
        losses, ours = runs().step(mine, runs().batch(empty))
        assert losses == pytest.approx(own, abs=1e-5) and ours == pytest.approx(gradient, rel=1e-5)


@beside
def test_our_matcher_labels_proposals_as_detectron2s_does():
    from imbdet.modeling.defaults import ThresholdMatcher

    theirs, mine = runs().pair("faster_rcnn")
    mine.roi_heads.matcher = ThresholdMatcher(0.5, 0.5)
    assert runs().step(mine, runs().batch())[0] == pytest.approx(runs().step(theirs, runs().batch())[0], abs=1e-5)
    mine.roi_heads.matcher = ThresholdMatcher(0.1, 0.1)
    assert runs().step(mine, runs().batch())[0]["loss_cls"] != pytest.approx(
        runs().step(theirs, runs().batch())[0]["loss_cls"], abs=1e-4
    )


@beside
@pytest.mark.parametrize("name", DETECTORS)
def test_calibration_acts_at_test_and_in_no_loss(name):
    class Less(torch.nn.Module):
        def logits(self, logits):
            return logits

        def forward(self, scores, background):
            assert (background is None) == (name == "retinanet")
            return scores * torch.tensor([1.0, 0.5, 0.5])

    (_, plain), (_, calibrated) = runs().pair(name), runs().pair(name)
    holders = [one for one in calibrated.modules() if isinstance(one, (adapter.Slots, adapter.SlotsRetinaNet))]
    assert len(holders) == (3 if name == "cascade_rcnn" else 1)
    for one in holders:
        one.calibration = Less()
    assert runs().step(calibrated, runs().batch()) == runs().step(plain, runs().batch())
    assert runs().detect(calibrated, runs().batch())[0][1] < runs().detect(plain, runs().batch())[0][1]


@beside
@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet"])
def test_values_beside_the_deltas_get_a_layer_and_keep_the_checkpoint(name):
    runs().data_set(runs().DATA)
    cfg = adapter.apply(runs().MODELS[name](), [{"kl_loss": {"voting": None}}, "softmax_focal_loss"], runs().DATA)
    model, (theirs, _) = runs().build(cfg), runs().pair(name)
    state = theirs.state_dict()
    if name == "retinanet":  # K + 1 logits: the only layer of another shape
        state = {key: value for key, value in state.items() if "cls_score" not in key}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("extra" in key or "criterion" in key or "cls_score" in key for key in missing)
    losses, _ = runs().step(model, runs().batch())
    assert all(value > 0 for value in losses.values())
    extra = [p for key, p in model.named_parameters() if "extra" in key]
    assert len(extra) == 2 and all(p.grad.abs().sum() > 0 for p in extra)
    assert len(runs().detect(model, runs().batch())) == 2


@beside
def test_what_is_remembered_moves_once_a_step():
    runs().data_set(runs().DATA)
    model = runs().build(adapter.apply(runs().MODELS["retinanet"](), ["ghm_c"], runs().DATA))
    before = model.criterion.classification.counts.clone()
    runs().step(model, runs().batch())
    after = model.criterion.classification.counts.clone()
    runs().detect(model, runs().batch())
    assert not torch.equal(before, after) and torch.equal(after, model.criterion.classification.counts)


def yacs(meta="GeneralizedRCNN"):
    from detectron2.config import get_cfg

    cfg = get_cfg()
    adapter.add_imbdet_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = meta
    cfg.MODEL.BACKBONE.NAME = (
        "build_resnet_fpn_backbone" if meta != "RetinaNet" else "build_retinanet_resnet_fpn_backbone"
    )
    cfg.MODEL.RESNETS.DEPTH, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"][meta == "RetinaNet" :]
    cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.RESNETS.OUT_FEATURES, 32
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[8], [16], [32], [64], [128]]
    cfg.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [[0.5, 1.0, 2.0]]
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.RETINANET.NUM_CLASSES = 3
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_BOX_HEAD.NAME, cfg.MODEL.ROI_BOX_HEAD.NUM_FC = "FastRCNNConvFCHead", 1
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION, cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 7, 32
    cfg.DATASETS.TRAIN = (runs().DATA,)
    return cfg


@beside
@pytest.mark.parametrize("kind", ["standard", "cascade", "retinanet"])
def test_a_yacs_config_builds_what_the_remedies_say(kind):
    from detectron2.modeling import build_model

    runs().data_set(runs().DATA)
    cfg = yacs("RetinaNet" if kind == "retinanet" else "GeneralizedRCNN")
    if kind == "cascade":
        cfg.MODEL.ROI_HEADS.NAME, cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = "CascadeROIHeads", True
    cfg.MODEL.IMBDET.REMEDIES = ["class_weights", "iou_balanced_sampling", "giou_loss"]
    cfg.MODEL.IMBDET.SETTINGS = ["class_weights.rule.power=1.0"]
    model = build_model(adapter.apply(cfg))
    where = {"retinanet": lambda: [model], "standard": lambda: [model.roi_heads.box_predictor]}
    holders = where.get(kind, lambda: list(model.roi_heads.box_predictor))()
    assert len(holders) == (3 if kind == "cascade" else 1)
    for one in holders:
        # 4, 1 and 1 boxes: in proportion to 1/4, 1, 1, and with the mean 1 over the 6 boxes
        assert one.criterion.weighting.table[:3].tolist() == pytest.approx([0.5, 2.0, 2.0])
        assert type(one.criterion.regression).__name__ == "GIoULoss"
    sampler = model.criterion.region_sampler if kind == "retinanet" else model.roi_heads.region_sampler
    assert type(sampler).__name__ == "IoUBalancedSampling"
    losses, gradient = runs().step(model, runs().batch())
    assert gradient > 0 and all(value >= 0 for value in losses.values())


@beside
def test_the_loader_draws_with_our_sampler_and_says_so_where_it_does_not():
    from detectron2.data import build_detection_train_loader

    runs().data_set(runs().DATA)
    cfg = adapter.apply(yacs(), [{"repeat_factor_sampling": {"threshold": 0.9}}])
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = 2, 0
    with pytest.raises(ValueError, match=r"sampler=imbdet.detectron2.train_sampler\(cfg\)"):
        build_detection_train_loader(cfg, mapper=dict)
    loader = iter(build_detection_train_loader(cfg, mapper=dict, sampler=adapter.train_sampler(cfg)))
    drawn = [one["image_id"] for _ in range(60) for one in next(loader)]
    assert set(drawn) == {100, 101, 102} and drawn.count(102) > drawn.count(100)
    assert adapter.train_sampler(adapter.apply(yacs(), ["giou_loss"])) is None


@beside
def test_a_lazy_loader_draws_with_our_sampler_and_counts_come_from_the_catalog():
    from detectron2.config import LazyCall, instantiate
    from detectron2.data import build_detection_train_loader, get_detection_dataset_dicts

    runs().data_set(runs().DATA)
    cfg = runs().MODELS["faster_rcnn"]()
    dataset = LazyCall(get_detection_dataset_dicts)(names=runs().DATA)
    train = LazyCall(build_detection_train_loader)(dataset=dataset, mapper=None, total_batch_size=1, num_workers=0)
    cfg.dataloader = {"train": train}
    cfg = adapter.apply(cfg, [{"repeat_factor_sampling": {"threshold": 0.9}}, "class_weights"])
    loader = iter(instantiate(cfg.dataloader.train))
    drawn = [one["image_id"] for _ in range(60) for one in next(loader)]
    assert set(drawn) == {100, 101, 102} and drawn.count(102) > drawn.count(100)
    assert adapter.counts_from(runs().DATA) == [4, 1, 1]
    assert len(adapter.records_from(runs().DATA, filter_empty=False)) == 4
    with pytest.raises(ValueError, match="has 3 classes, the model has num_classes=4"):
        adapter.records_from(runs().DATA, num_classes=4)


@beside
def test_what_a_part_cannot_hold_is_refused():
    cfg = runs().MODELS["faster_rcnn"]()
    with pytest.raises(ValueError, match="SoftmaxFocalLoss has more than one logit"):
        runs().build(adapter.apply(cfg, ["softmax_focal_loss@rpn"], runs().DATA))
    cfg = runs().neutral("faster_rcnn")
    cfg.model.roi_heads.box_predictor.update(
        use_sigmoid_ce=True, use_fed_loss=True, get_fed_loss_cls_weights=lambda: torch.ones(3)
    )
    with pytest.raises(ValueError, match="use_fed_loss"):
        runs().build(cfg)
