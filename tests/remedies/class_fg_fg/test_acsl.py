"""ACSL: neutral, by hand, shares of background, which rule holds where, no objects, the mechanism."""

import math

import pytest
import torch

from imbdet.data.statistics import class_groups
from imbdet.modeling.defaults import one_hot
from imbdet.remedies.class_fg_fg.acsl import ACSL
from imbdet.testing import regions

GROUPS = [2, 1, 0]


def weights(loss, logits, labels):
    m = regions(labels, 3)
    return loss.weights(logits, one_hot(m.labels, 4, logits.dtype), m)[0]


def test_neutral_is_cross_entropy_of_all_sigmoids():
    labels, logits = [0, 1, 2, 3], torch.randn(4, 4)
    target = one_hot(torch.tensor(labels), 4, torch.float32)
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
    assert torch.equal(ACSL(GROUPS, threshold=0, kept=(1, 1, 1))(logits, regions(labels, 3))[0], want)


def test_by_hand_and_a_loop_on_foreground():
    """At z = 0 the true class alone learns, log 2. A logit of 1 has sigmoid 0.73 and learns, too; 0.8 has 0.69."""
    assert ACSL(GROUPS)(torch.zeros(1, 4), regions([1], 3))[0].item() == pytest.approx(math.log(2))
    logits = torch.tensor([[1.0, -3.0, 0.8, 1.0], [0.0, 1.0, 5.0, -1.0]])
    found = weights(ACSL(GROUPS), logits, [1, 0])
    for row, label, mine in zip(logits.tolist(), [1, 0], found.tolist(), strict=True):
        assert mine == [float(j == label or 1 / (1 + math.exp(-z)) >= 0.7) for j, z in enumerate(row)]


def test_shares_of_background():
    """The trap: 1 % and 10 % as in the code, not a third and two thirds as its comments say."""
    torch.manual_seed(0)
    found = weights(ACSL(GROUPS), torch.full((20000, 4), 3.0), [3] * 20000).mean(dim=0)
    assert found[[0, 3]].tolist() == [1, 1]
    assert found[1].item() == pytest.approx(0.1, abs=0.01) and found[2].item() == pytest.approx(0.01, abs=0.004)


def test_on_background_a_high_score_does_not_count():
    low, high = torch.full((500, 4), -3.0), torch.full((500, 4), 3.0)
    found = []
    for logits in (low, high):
        torch.manual_seed(1)
        found.append(weights(ACSL(GROUPS), logits, [3] * 500))
    assert torch.equal(*found)


def test_scores_groups_and_no_objects():
    logits = torch.randn(3, 4)
    assert torch.equal(ACSL(GROUPS).scores(logits), logits[:, :3].sigmoid())
    assert ACSL([2, -1, 0]).shares.tolist() == pytest.approx([1, 1, 0.01, 1])
    assert torch.isfinite(ACSL(GROUPS)(logits, regions([3, 3, -1], 3))[0]).all()


def test_groups_of_records(made):
    images = [[0]] * 30 + [[0, 1]] * 9 + [[2]]
    assert class_groups(made.records(images, num_classes=4)) == [2, 1, 0, -1]


def test_mechanism_rare_classes_are_rarely_pushed_down():
    torch.manual_seed(0)
    z = torch.zeros(400, 4, requires_grad=True)
    ACSL(GROUPS)(z, regions([0] * 100 + [3] * 300, 3))[0].sum().backward()
    pushed = z.grad.clamp(min=0).sum(dim=0)
    assert pushed[2] < 0.1 * pushed[0] and pushed[1] < 0.2 * pushed[0]


@pytest.mark.parametrize("bad", [{"threshold": 2}, {"kept": (1, 1)}, {"kept": (1, 1, 2)}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match="threshold and three shares"):
        ACSL(GROUPS, **bad)
