import pytest
import torch
from torch.nn import functional as F

from imbdet.modeling.defaults import SigmoidCrossEntropy, one_hot
from imbdet.remedies.class_fg_bg.ghm_c import GHMC

from ._regions import K, batch


def value(loss, logits, m):
    values, _ = loss(logits, m)
    return (values * m.considered).sum() / loss.normalizer(m)


def naive(logits, m, bins):
    """Equations 3 to 9 example by example, without the moving average."""
    truth, g, counts = one_hot(m.labels, K, torch.float64), [], [0] * bins
    rows = [i for i in range(len(m)) if m.labels[i] >= 0]
    for i in rows:
        for k in range(K):
            norm = abs(torch.sigmoid(logits[i, k].double()).item() - truth[i, k].item())
            g.append((i, k, min(int(norm * bins), bins - 1)))
            counts[g[-1][2]] += 1
    total, filled = len(g), sum(c > 0 for c in counts)
    ce = F.binary_cross_entropy_with_logits(logits.double(), truth, reduction="none")
    return sum(ce[i, k].item() * total / (filled * counts[b]) for i, k, b in g) / total


def test_neutral_is_the_mean_cross_entropy():
    m, logits = batch([[0, K, 2, -1]]), torch.randn(4, K)
    plain = (SigmoidCrossEntropy()(logits, m)[0] * m.considered).sum() / (3 * K)
    assert torch.allclose(value(GHMC(bins=1, momentum=0), logits, m), plain, rtol=1e-6)


@pytest.mark.parametrize("bins", [2, 10, 30])
def test_equals_a_naive_loop(bins):
    m, logits = batch([[0, K, 2, -1, 1, K, K, K]]), torch.randn(8, K) * 3
    assert value(GHMC(bins, momentum=0), logits, m).item() == pytest.approx(naive(logits, m, bins), rel=1e-5)


def test_by_hand():
    """Two bins; of 3 logits one is wrong (g > 0.5): weights T / (n c) = 3 / (2 x 1) and 3 / (2 x 2)."""
    logits = torch.tensor([[-1.0, -1.0, 1.0]])
    values, _ = GHMC(bins=2, momentum=0)(logits, batch([[K]]))
    ce = F.softplus(logits)[0]
    assert values.item() == pytest.approx((0.75 * ce[0] + 0.75 * ce[1] + 1.5 * ce[2]).item(), rel=1e-5)


def test_moving_average_by_hand():
    """Logits of -3 are right but at two true classes: 7 examples of g = 0.047, 2 of 0.953. Those of 3 the reverse."""
    loss, m = GHMC(bins=4, momentum=0.75), batch([[0, K, 2]])
    loss(torch.full((3, K), -3.0), m)
    loss.end_step()
    assert loss.counts.tolist() == [7, 0, 0, 2]
    loss(torch.full((3, K), 3.0), m)
    loss.end_step()
    assert loss.counts.tolist() == [0.75 * 7 + 0.25 * 2, 0, 0, 0.75 * 2 + 0.25 * 7]


def test_no_objects_and_nothing_at_all():
    assert torch.isfinite(value(GHMC(), torch.randn(3, K), batch([[K, K, -1]])))
    assert value(GHMC(), torch.randn(3, K), batch([[-1, -1, -1]])) == 0


def test_mechanism_the_gradient_is_shared_out_evenly_over_its_norm():
    """990 easy background regions beside 10 objects: under cross entropy the crowded bins have most of the gradient,
    under GHM-C every bin that is not empty has the same number of weighted examples."""
    torch.manual_seed(0)
    m = batch([[0] * 10 + [K] * 990])
    logits = torch.where(m.labels == 0, 0.0, -4.0).unsqueeze(1) + torch.randn(1000, K)
    logits.requires_grad_()
    truth = one_hot(m.labels, K, torch.float32)
    norm = (logits.sigmoid() - truth).abs().detach()
    loss = GHMC(bins=10, momentum=0)
    loss(logits, m)[0].sum().backward()
    weight = logits.grad.abs() / norm  # of each example, as the gradient of cross entropy is the norm
    per_bin = torch.zeros(10).scatter_add(0, (norm * 10).long().clamp(max=9).view(-1), weight.view(-1))
    crowd = torch.histc(norm, bins=10, min=0, max=1)
    assert crowd.max() / crowd[crowd > 0].min() > 50
    filled = per_bin[per_bin > 0]
    assert filled.max() / filled.min() < 1.001


@pytest.mark.parametrize("bad", [{"bins": 0}, {"momentum": 1.0}, {"prior": 0}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        GHMC(**bad)
