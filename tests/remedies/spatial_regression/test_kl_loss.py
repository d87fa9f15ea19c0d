"""KL loss and variance voting: the Gaussian's likelihood, variances that follow the noise, votes against a loop."""

import math

import pytest
import torch
from torch.nn import functional as F

from imbdet import testing
from imbdet.config import instantiate
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.kl_loss import KLLoss, VarianceVoting
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import DETECTORS, PAIRS, ROI, RegressionChecks, config, regions, scene
from tests.remedies.spatial_regression._naive import iou_of


class TestKLLoss(RegressionChecks):
    """s = 0, sides in tenths of the target's 10 px, one pixel is 1. Nested: four sides off by 2.5, each 2.5 - 1/2.
    Touching: x1 and x2 off by 10. Disjoint: by 20.
    """

    make, remedy, weights = KLLoss, "kl_loss", (0.2, 0.1)
    settings = ({}, {"unit": 3.0, "limit": 1.0, "least": -0.5})
    worked = {"identical": 0, "nested": 8.0, "touching": 19.0, "disjoint": 39.0}
    bad = ({"unit": 0}, {"limit": -1}, {"least": 0})

    def naive(self, deltas, region, target, coder, fixed, unit=10.0, limit=7.0, least=-2.0):
        box = coder.decode(torch.tensor(deltas[:4], dtype=torch.float64), torch.tensor(region, dtype=torch.float64))
        total = 0.0
        for i, (side, wanted) in enumerate(zip(box.tolist(), target, strict=True)):
            x = abs(side - wanted) * unit / (region[i % 2 + 2] - region[i % 2])
            end = limit if deltas[4 + i] >= 0 else least
            s = end * math.tanh(deltas[4 + i] / end)
            total += math.exp(-s) * (x * x / 2 if x <= 1 else x - 0.5) + s / 2
        return total


def values_of(errors, s):
    """The loss of one side, the others right: error in tenths (E,), what the head predicts (E,) -> (E,)."""
    box = torch.tensor([PAIRS["identical"]], dtype=errors.dtype).expand(len(errors), 4)
    target = box - torch.stack((errors, *[torch.zeros_like(errors)] * 3), dim=1)
    extra = torch.stack((s, *[torch.zeros_like(s)] * 3), dim=1)
    deltas = torch.cat((torch.zeros_like(box), extra), dim=1)
    return KLLoss()(deltas, regions(box, target), BoxCoder())[0]


def test_neutral_s_0_is_smooth_l1_of_the_sides():
    m, deltas = scene()
    size = (m.boxes[:, 2:] - m.boxes[:, :2]).repeat(1, 2) / 10
    sides = (ROI.decode(deltas, m.boxes) - m.targets) / size
    want = F.smooth_l1_loss(sides, torch.zeros_like(sides), reduction="none", beta=1.0).sum(1)
    found = KLLoss()(torch.cat((deltas, torch.zeros_like(deltas)), dim=1), m, ROI)[0]
    assert torch.allclose(found, want)


def test_neutral_for_a_shift_it_is_twice_the_deltas_smooth_l1():
    """Both sides move with the center: with the RoI's weight of 10 the error of either is that of dx."""
    box, shifted = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.3, 0, 10.3, 10]])
    m, deltas = regions(box, shifted), torch.zeros(1, 8)
    assert KLLoss()(deltas, m, ROI)[0].item() == pytest.approx(2 * SmoothL1(1.0)(deltas[:, :4], m, ROI)[0].item())


def test_inside_1_it_is_the_gaussian_likelihood():
    """exp(-s) x^2 / 2 + s / 2, with s = log variance."""
    x, s = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64), torch.linspace(-1, 1, 7, dtype=torch.float64)
    variance = torch.exp(torch.where(s < 0, -2 * torch.tanh(s / -2), 7 * torch.tanh(s / 7)))
    want = F.gaussian_nll_loss(x, torch.zeros_like(x), variance, reduction="none", full=False)
    assert torch.allclose(values_of(x, s), want)


@pytest.mark.parametrize("x", [1.5, 4.0, 20.0])
def test_best_variance_of_an_error(x):
    """d/ds (exp(-s) (|x| - 1/2) + s / 2) = 0 at s = ln(2 |x| - 1)."""
    raw = 7 * math.atanh(math.log(2 * x - 1) / 7)
    s = torch.tensor([raw], dtype=torch.float64, requires_grad=True)
    values_of(torch.tensor([x], dtype=torch.float64), s).sum().backward()
    assert abs(s.grad.item()) < 1e-9


def test_variance_is_bounded_and_never_stuck():
    """Pushed far out, exp(-s) stays below e^2, and the gradient still leads back (a hard bound's would be 0)."""
    s = torch.tensor([-20.0, -9.0], dtype=torch.float64, requires_grad=True)
    x = torch.ones(2, dtype=torch.float64)
    values = values_of(x, s)
    values.sum().backward()
    assert (values < math.exp(2)).all() and (s.grad < 0).all(), "larger s would lower it"


def test_mechanism_noisy_sides_get_variance_and_less_gradient():
    """One head output for many targets: exact ones and noisy ones (deviation 3 tenths). Learned by gradient descent,
    the noisy group's variance grows to its noise's, and an error there pulls less than the same of the exact group.
    """
    g = torch.Generator().manual_seed(0)
    noise = torch.cat((0.1 * torch.randn(200, generator=g), 3 * torch.randn(200, generator=g)))
    group = torch.arange(2).repeat_interleave(200)
    s = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([s], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        values_of(noise, s[group]).mean().backward()
        optimizer.step()
    deviation = torch.exp(KLLoss().log_variance(s.detach()) / 2)
    assert deviation[0] < 0.45 and deviation[1] > 1.5  # the least is exp(-1) = 0.37 tenths
    x = torch.tensor([0.5, 0.5], requires_grad=True)
    values_of(x, s.detach()).sum().backward()
    assert 0 < x.grad[1] < 0.1 * x.grad[0] < 0.1 * 0.5 * math.exp(2) and x.grad[1] < 0.5, "0.5 is smooth L1's"


def test_deviations_are_pixels_of_the_right_side():
    """Region 20 x 40: s = (0, 2 ln 2, 0, 2 ln 3) for x1, y1, x2, y2 is sigma 1, 2, 1, 3 tenths: 2, 8, 2, 12 px."""
    s = torch.tensor([[0.0, 2 * math.log(2), 0, 2 * math.log(3)]])
    extra = 7 * torch.atanh(s / 7)
    found = KLLoss().deviations(extra, torch.tensor([[5.0, 5, 25, 45]]))
    assert found[0].tolist() == pytest.approx([2, 8, 2, 12], rel=1e-5)


def candidates(n=2, d=30, seed=0):
    """Boxes around three places, deviations, two classes, some not valid: (N, D, ...)."""
    g = torch.Generator().manual_seed(seed)
    place = random_boxes(3, seed)[torch.randint(0, 3, (n, d), generator=g)]
    boxes = place + 2 * torch.randn(n, d, 4, generator=g)
    beside = 0.5 + 5 * torch.rand(n, d, 4, generator=g)
    return boxes, beside, torch.randint(0, 2, (n, d), generator=g), torch.rand(n, d, generator=g) < 0.7


def naive_vote(j, boxes, beside, labels, valid, sigma, overlap):
    """Box by box, side by side, of one image: lists."""
    top, bottom = [0.0] * 4, [0.0] * 4
    for i, box in enumerate(boxes):
        iou, _ = iou_of(boxes[j], box)
        if valid[i] and labels[i] == labels[j] and iou > overlap:
            p = math.exp(-((1 - iou) ** 2) / sigma)
            for side in range(4):
                top[side] += p * box[side] / beside[i][side] ** 2
                bottom[side] += p / beside[i][side] ** 2
    return [a / b for a, b in zip(top, bottom, strict=True)]


@pytest.mark.parametrize("sigma, overlap", [(0.01, 0.01), (0.3, 0.4)])
def test_voting_against_a_naive_loop(sigma, overlap):
    boxes, beside, labels, valid = candidates()
    index = valid.float().topk(5, dim=1).indices
    found = VarianceVoting(sigma, overlap)(index, boxes, beside, labels, valid)
    for image in range(2):
        parts = [x[image].tolist() for x in (boxes, beside, labels, valid)]
        want = [naive_vote(j, *parts, sigma, overlap) for j in index[image].tolist()]
        assert torch.allclose(found[image], torch.tensor(want), atol=1e-3)


def test_voting_by_hand():
    """The same box twice is the box; x1 = 0 with deviation 1 and x1 = 1 with deviation 2, IoU 0.9: p = e^-1 = 0.3679,
    x1 = (0.3679 / 4) / (1 + 0.3679 / 4) = 0.08423.
    """
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1.0, 0, 10, 10]]])
    beside = torch.tensor([[[1.0, 1, 1, 1], [2.0, 2, 2, 2]]])
    one, valid = torch.zeros(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool)
    found = VarianceVoting()(torch.zeros(1, 1, dtype=torch.long), boxes, beside, one, valid)
    assert found[0, 0].tolist() == pytest.approx([0.08423, 0, 10, 10], abs=1e-4)
    same = VarianceVoting()(torch.zeros(1, 1, dtype=torch.long), boxes[:, [0, 0]], beside, one, valid)
    assert torch.equal(same[0, 0], boxes[0, 0])


def test_alone_or_among_others_that_do_not_count_a_box_stays():
    boxes, beside, labels, valid = candidates(n=1, d=6)
    index = torch.tensor([[2]])
    alone = torch.zeros_like(valid)
    alone[0, 2] = True
    others = torch.where(torch.arange(6) == 2, 0, 1).unsqueeze(0)
    for other_labels, who in ((labels, alone), (others, torch.ones_like(valid))):
        assert torch.equal(VarianceVoting()(index, boxes, beside, other_labels, who)[0, 0], boxes[0, 2])
    assert VarianceVoting()(index, boxes, beside, labels, torch.zeros_like(valid)).isfinite().all()


@pytest.mark.parametrize("bad", [{"sigma": 0}, {"overlap": 1.0}])
def test_bad_settings_of_voting(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        VarianceVoting(**bad)


def test_voting_needs_deviations():
    boxes, _, labels, valid = candidates()
    with pytest.raises(ValueError, match="fill the slot regression with KLLoss"):
        VarianceVoting()(torch.zeros(2, 1, dtype=torch.long), boxes, boxes[..., 4:], labels, valid)


@pytest.mark.parametrize("baseline", DETECTORS)
def test_a_detector_votes_and_without_it_finds_what_it_found(baseline):
    """The same weights with and without voting: the same scores and labels, and bit for bit the plain boxes without."""
    models = {}
    for remedy in ("", "kl_loss"):
        torch.manual_seed(0)
        models[remedy] = instantiate(config(baseline, remedy).model).eval()
    plain, kl = models[""], models["kl_loss"]
    assert plain.voting is None and isinstance(kl.voting, VarianceVoting)
    missing = kl.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing and all("bbox_extra" in name for name in missing)
    for model in models.values():
        model.score_threshold = 0.0
    images, _ = testing.batch(3, 1)
    with torch.no_grad():
        found, voted = plain(images), kl(images)
        kl.voting = None
        silent = kl(images)
    for a, b, c in zip(found, voted, silent, strict=True):
        assert len(a["boxes"]) > 10
        assert all(torch.equal(a[key], c[key]) for key in a), "without voting nothing changed"
        assert torch.equal(b["scores"], a["scores"]) and torch.equal(b["labels"], a["labels"])
        assert not torch.equal(b["boxes"], a["boxes"])


@pytest.mark.parametrize("baseline", DETECTORS)
def test_training_step_reports_the_deviation(baseline):
    torch.manual_seed(0)
    model = instantiate(config(baseline, "kl_loss").model).train()
    losses, stats = model(*testing.batch(2, 1))
    sum(losses.values()).backward()
    extra = [p for name, p in model.named_parameters() if "bbox_extra" in name]
    assert extra and all(p.grad.abs().sum() > 0 for p in extra)
    name = "kl_loss/deviation" if hasattr(model, "criterion") else "roi/kl_loss/deviation"
    assert stats[name].item() == pytest.approx(0.1, rel=0.01), "s starts at 0: a tenth of the region"
