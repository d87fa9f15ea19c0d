import math

import pytest
import torch

from imbdet.modeling.defaults import SoftmaxCrossEntropy
from imbdet.remedies.class_fg_bg.softmax_focal_loss import SoftmaxFocalLoss

from ._regions import K, batch


def test_neutral_is_cross_entropy():
    m, logits = batch([[0, K, 2, -1, 1]]), torch.randn(5, K + 1)
    assert torch.equal(SoftmaxFocalLoss(gamma=0)(logits, m)[0], SoftmaxCrossEntropy()(logits, m)[0])
    assert torch.equal(SoftmaxFocalLoss().scores(logits), SoftmaxCrossEntropy().scores(logits))


@pytest.mark.parametrize("p, ratio", [(0.9, 0.01), (0.5, 0.25)])
def test_by_hand(p, ratio):
    """(1 - p)^2: at p = 0.9 a hundredth of cross entropy, at 0.5 a quarter."""
    logits = torch.log(torch.tensor([[p, (1 - p) / 3, (1 - p) / 3, (1 - p) / 3]]))
    value = SoftmaxFocalLoss(gamma=2)(logits, batch([[0]]))[0]
    assert value.item() == pytest.approx(ratio * -math.log(p), rel=1e-4)


def test_equals_a_naive_loop_with_alpha_by_name():
    m, logits = batch([[0, K, 2, 1]]), torch.randn(4, K + 1)
    loss = SoftmaxFocalLoss(1.5, {"b": 0.9}, class_names=["a", "b", "c"], other_alpha=0.4)
    alpha = [0.4, 0.9, 0.4, 0.6]
    for value, row, label in zip(loss(logits, m)[0], logits.double(), m.labels.tolist(), strict=True):
        p = row.softmax(0)[label].item()
        assert value.item() == pytest.approx(alpha[label] * (1 - p) ** 1.5 * -math.log(p), rel=1e-4)


def test_one_alpha_for_all():
    m, logits = batch([[0, K]]), torch.zeros(2, K + 1)
    plain, weighted = SoftmaxFocalLoss()(logits, m)[0], SoftmaxFocalLoss(alpha=0.25)(logits, m)[0]
    assert torch.allclose(weighted / plain, torch.tensor([0.25, 0.75]))


def test_gradient_extreme_logits_and_no_objects():
    m = batch([[0, K, 2]])
    logits = torch.randn(3, K + 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: SoftmaxFocalLoss()(x, m)[0], logits)
    far = torch.tensor([[200.0, -200, 0, 0], [0, 0, 0, 200.0], [200.0, 0, -200, 0]], requires_grad=True)
    value = SoftmaxFocalLoss()(far, m)[0].sum()
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(far.grad).all()
    assert torch.isfinite(SoftmaxFocalLoss()(torch.randn(3, K + 1), batch([[K, K, -1]]))[0]).all()


def test_mechanism_sure_regions_lose_their_share():
    m = batch([[0] * 10 + [K] * 90])
    logits = torch.zeros(100, K + 1)
    logits[m.background, K] = 3.0
    share = {}
    for name, loss in (("cross entropy", SoftmaxCrossEntropy()), ("focal", SoftmaxFocalLoss())):
        values = loss(logits, m)[0]
        share[name] = (values[m.background].sum() / values.sum()).item()
    assert share["focal"] < 0.1 * share["cross entropy"]
