"""Cascade R-CNN as part of a whole detector: names of weights, cost, report, what the engine asks, other remedies."""

import pytest

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.engine.meters import read_stats
from imbdet.report import plots
from imbdet.report.run import Run
from tests.remedies.engine_checks import check_resume, check_two_processes
from tests.remedies.spatial_iou.inside import (
    KINDS,
    check_in_either_order,
    check_trains_and_detects,
    count_operators,
    detector,
    remedies_of_roi_slots,
)


@pytest.fixture(scope="module")
def model():
    return detector("cascade_rcnn")


def test_names_of_its_weights_are_detectron2s(model):
    names = {name for name in model.state_dict() if name.startswith("roi_heads.")}
    parts = ["box_head.{}.fc1", "box_predictor.{}.cls_score", "box_predictor.{}.bbox_pred"]
    ends = ("weight", "bias")
    assert names == {f"roi_heads.{part.format(t)}.{end}" for part in parts for t in range(3) for end in ends}


@pytest.mark.parametrize(("kind", "half"), KINDS)
def test_any_number_and_size_of_objects_trains(model, kind, half):
    check_trains_and_detects(model, kind, half)


def test_operators_and_waits_do_not_grow_with_the_images(model):
    assert max(count.synchronizations for count in count_operators(model)) <= 40


@pytest.mark.slow
def test_operators_and_waits_on_a_whole_pyramid():
    """detectron2's forward waits 137 times at 2 images and 407 times at 8."""
    words = ["model.backbone.name=resnet18", "model.backbone.stride_in_1x1=false", "model.neck.channels=8"]
    words += ["model.roi_heads.box_head.widths=[16, 16]", "model.rpn.before_nms=[200, 100]"]
    cfg = load_config("baselines/faster_rcnn_r50_coco", ["cascade_rcnn"], words)
    cfg.model.num_classes = 10
    assert max(count.synchronizations for count in count_operators(instantiate(cfg.model))) <= 40


def test_stages_in_the_report(model):
    _, stats = model.train()(*testing.batch(2, 3, size=64))
    scalars, histograms = read_stats(stats, None)
    run = Run(folder=None)
    run.metrics += [{"iteration": i, "split": "train", **scalars, **histograms} for i in (10, 20)]
    assert plots.criteria(run, "positives/", "per_image") == ["rpn_", "roi_", "roi_stage1_", "roi_stage2_"]
    assert len(plots.share_plots(run)) == 4
    assert scalars["iou/roi_before_below_0.5"] == 0 and "roi_stage2/above_0.7" in scalars


@pytest.mark.slow
def test_resume(tmp_path, monkeypatch):
    check_resume(tmp_path, "cascade_rcnn", monkeypatch)


@pytest.mark.slow
def test_two_processes(tmp_path):
    check_two_processes(tmp_path, "cascade_rcnn")


#: remedy of an RoI slot -> why it cannot be inside of a cascade
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.slow  # of such pairs the quick run tries those that test_pairs draws
@pytest.mark.parametrize("name", remedies_of_roi_slots())
def test_every_remedy_of_an_roi_slot(name):
    if name in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name])
    check_in_either_order(name, "cascade_rcnn")


def test_exceptions_are_about_remedies_that_exist():
    assert all(name in remedies_of_roi_slots() and reason for name, reason in EXCEPTIONS.items())
