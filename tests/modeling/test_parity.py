"""Our detectors against detectron2's recorded losses, gradient norms and detections, for equal weights and pictures.

Tolerances are those of the recording: losses and gradient norms 1e-4 relative, boxes 0.01 px, scores 1e-4.
"""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.detectron2_weights import load_detectron2_weights, our_name
from tests.modeling.parity import PARITY, batch, load_case, rule_weights


@pytest.fixture(autouse=True)
def plain_convolutions():
    """Without oneDNN, whose order of summation differs between processors: one ReLU that flips moves a gradient norm
    by 1e-4.
    """
    with torch.backends.mkldnn.flags(enabled=False):
        yield


pytestmark = [
    pytest.mark.skipif(not PARITY.is_dir(), reason="the recorded reference cases are not here"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration"),  # torch says so when oneDNN is switched
]

SLIM = [
    "model.backbone.name=resnet18",
    "model.backbone.stride_in_1x1=false",
    "model.neck.channels=32",
    "model.preprocess.std=[57.375, 57.12, 58.395]",
]
RCNN = [
    "model.roi_heads.box_head.widths=[64, 64]",
    "model.rpn.before_nms=[300, 300]",
    "model.rpn.after_nms=[100, 100]",
    "model.rpn.criterion.region_sampler.per_image=100000",
    "model.roi_heads.criterion.region_sampler.per_image=100000",
]
CASES = {
    "faster_rcnn_r18": ("baselines/faster_rcnn_r50_coco", SLIM + RCNN),
    "retinanet_r18": ("baselines/retinanet_r50_coco", SLIM),
    "cascade_rcnn_r18": ("baselines/faster_rcnn_r50_coco", SLIM + RCNN, "cascade_rcnn"),
}


#: of the cascade the stages are new; its backbone, neck and RPN are those of faster_rcnn_r18
SLOW = {"cascade_rcnn_r18"}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES]
)
def case(request):
    config, overrides, *remedies = CASES[request.param]
    expected, arrays = load_case(request.param)
    cfg = load_config(config, remedies, overrides)
    cfg.model.num_classes = 5
    model = instantiate(cfg.model)
    load_detectron2_weights(model, rule_weights(expected["state"]))
    return model, expected, arrays


def test_losses_and_every_gradient_norm(case):
    model, expected, arrays = case
    model.train()
    model.zero_grad()
    losses, _ = model(*batch(arrays))
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected["losses"], rel=1e-4)
    sum(losses.values()).backward()
    norms = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
    theirs = {our_name(n): v for n, v in expected["grad_norms"].items()}
    assert norms.keys() == theirs.keys()
    assert norms == pytest.approx(theirs, rel=1e-4)


def test_every_detection(case):
    model, _, arrays = case
    model.eval()
    with torch.no_grad():
        detections = model(batch(arrays)[0])
    for i, found in enumerate(detections):
        boxes, scores, labels = (torch.from_numpy(arrays[f"{k}{i}"]) for k in ("boxes", "scores", "classes"))
        assert len(found["scores"]) == len(scores)
        near = (found["boxes"][:, None] - boxes[None]).abs().amax(-1) < 0.01
        near &= (found["scores"][:, None] - scores[None]).abs() < 1e-4
        near &= found["labels"][:, None] == labels[None]
        assert (near.sum(0) == 1).all() and (near.sum(1) == 1).all()


def test_feature_means(case):
    model, expected, arrays = case
    with torch.no_grad():
        features = model.neck(model.backbone(model.preprocess(batch(arrays)[0])[0]))
    assert {k: v.abs().mean().item() for k, v in features.items()} == pytest.approx(
        expected["feature_mean_abs"], rel=1e-4
    )
