"""Our detectors against detectron2's recorded losses, gradient norms and detections, for equal weights and pictures.

Tolerances are those of the recording: losses and gradient norms 1e-4 relative, boxes 0.01 px, scores 1e-4.
"""

import pytest
import torch

from tests.modeling.parity import CASES, PARITY, batch, reference_detector


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


#: of the cascade the stages are new; its backbone, neck and RPN are those of faster_rcnn_r18
SLOW = {"cascade_rcnn_r18"}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES]
)
def case(request):
    return reference_detector(request.param)


def test_losses_and_every_gradient_norm(case):
    model, expected, arrays = case
    model.train()
    model.zero_grad()
    losses, _ = model(*batch(arrays))
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected["losses"], rel=1e-4)
    sum(losses.values()).backward()
    norms = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
    theirs = expected["grad_norms_of_ours"]
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
