"""Federated loss: neutral, by hand, a loop over what was drawn, few classes, first loss, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SigmoidCrossEntropy, one_hot
from imbdet.remedies.class_fg_fg.federated_loss import FederatedLoss
from imbdet.testing import regions

COUNTS, LABELS = [400, 100, 25, 1, 0], [0, 0, 5, -1]


def sampled(loss, labels=LABELS):
    m = regions(labels, 5)
    return loss.weights(torch.zeros(len(labels), 5), one_hot(m.labels, 5, torch.float32), m)[0][0].tolist()


def test_neutral_is_sigmoid_cross_entropy_so_few_classes_need_no_more_than_there_are():
    """The trap: asking for 50 of 5."""
    m, logits = regions(LABELS, 5), torch.randn(4, 5)
    for number in (6, 50):
        values, stats = FederatedLoss(COUNTS, number)(logits, m)
        assert torch.equal(values, SigmoidCrossEntropy()(logits, m)[0]) and stats["federated_loss/classes"] == 5


def test_by_hand():
    """num_sampled 2 of a batch with one class and background: that class alone pays, log 2 each region."""
    values, stats = FederatedLoss(COUNTS, 2)(torch.zeros(4, 5), regions(LABELS, 5))
    assert values[:3].tolist() == pytest.approx([math.log(2)] * 3) and stats["federated_loss/classes"] == 1


def test_number_present_and_absent():
    torch.manual_seed(0)
    for _ in range(20):
        found = sampled(FederatedLoss(COUNTS, 4))
        assert sum(found) == 3 and found[0] == 1 and found[4] == 0  # class 4 has no image: never before the others
    assert sampled(FederatedLoss(COUNTS, 1), [0, 3, 5, 5]) == [1, 0, 0, 1, 0]  # what is there is never left out
    assert sum(sampled(FederatedLoss(COUNTS, 3), [0, 0])) == 3  # no background: one more class


def test_how_often_a_class_is_drawn():
    """Of 100, 25 and 1 images, power 1/2: first of one draw with 10, 5 and 1 sixteenths."""
    torch.manual_seed(0)
    loss = FederatedLoss(COUNTS, 3)
    found = torch.tensor([sampled(loss) for _ in range(600)]).mean(dim=0)
    assert found.tolist() == pytest.approx([1, 10 / 16, 5 / 16, 1 / 16, 0], abs=0.06)


def test_no_objects_one_class_and_the_first_loss():
    for labels in ([5, 5, -1], [-1, -1, -1]):
        assert torch.isfinite(FederatedLoss(COUNTS, 3)(torch.randn(3, 5), regions(labels, 5))[0]).all()
    one = FederatedLoss([7], 1)(torch.zeros(1, 1), regions([0], 1))[0]
    assert one.item() == pytest.approx(math.log(2))
    assert FederatedLoss(COUNTS).initial_bias(5) == pytest.approx(-math.log(99))


def test_mechanism_a_rare_class_is_pushed_down_less_often():
    torch.manual_seed(0)
    loss, m, pushed = FederatedLoss(COUNTS, 3), regions([0, 5, 5, 5], 5), torch.zeros(5)
    for _ in range(200):
        z = torch.zeros(4, 5, requires_grad=True)
        loss(z, m)[0].sum().backward()
        pushed += z.grad.clamp(min=0).sum(dim=0)
    assert pushed[1] > 4 * pushed[3]


@pytest.mark.parametrize("bad", [{"num_sampled": 0}, {"power": -1}, {"prior": 1}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FederatedLoss(COUNTS, **bad)
