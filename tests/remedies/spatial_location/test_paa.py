"""Probabilistic anchor assignment: neutral, by hand, scikit-learn's mixture, a naive loop, states that stand still."""

import math

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import Considered, SigmoidCrossEntropy
from imbdet.remedies.class_fg_bg.ghm_c import GHMC
from imbdet.remedies.spatial_location.paa import PAA, lower_part
from imbdet.structures import Objects
from imbdet.testing import random_boxes
from tests.helpers import K, Waits, criterion

A, M, LEVELS = 60, 3, 2


def scene(n=2, seed=0, topk=9, steps=20, classification=None):
    """n images of A regions and M objects, the last without any: matched, objects, logits, outputs, criterion."""
    g = torch.Generator().manual_seed(seed)
    regions, levels = random_boxes(A, seed, size=60), torch.arange(A) % LEVELS
    boxes = torch.stack([random_boxes(M, seed + 1 + i, size=40) for i in range(n)])
    valid = torch.arange(n).unsqueeze(1).expand(n, M) < n - 1
    objects = Objects(boxes * valid.unsqueeze(2), torch.randint(0, K, (n, M), generator=g) * valid, valid)
    made = criterion(classification or SigmoidCrossEntropy(), Considered(), box_coder=BoxCoder())
    made.matcher, made.regression_weight = PAA(topk=topk, steps=steps), 1.3
    made.build({"p2": 4, "p3": 8})
    matched = made.match(regions, levels, objects)
    logits = torch.randn(n * A, K, generator=g) * 2
    return matched, objects, logits, 0.2 * torch.randn(n * A, 4, generator=g), made


def test_neutral_is_the_first_pass():
    matched, *rest = scene(topk=0)
    assert rest[-1].matcher.rematch(matched, *rest) is matched


def test_by_hand_two_clear_groups():
    """Losses 1, 1.1, 1.2 and 9, 9.1: the low group has its peak at 1.1, so 1.2 is left out, as figure 3 (c) has it."""
    loss = torch.tensor([[1.2, 9.0, 1.0, 9.1, 1.1, 0.0]])
    there = torch.tensor([[True, True, True, True, True, False]])
    assert lower_part(loss, there, 20).tolist() == [[False, False, True, False, True, False]]


def test_fewer_than_two_and_equal_losses():
    loss = torch.tensor([[3.0, 0.0, 0.0], [2.0, 2.0, 2.0], [1.0, 1e6, 0.0]])
    there = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    found = lower_part(loss, there, 20)
    assert found.tolist() == [[False] * 3, [True] * 3, [True, False, False]]
    assert not lower_part(loss, torch.zeros_like(there), 20).any()


@pytest.mark.parametrize("seed", range(6))
def test_against_scikit_learns_mixture(seed):
    """The authors' call: means at the ends, weights 1/2, precisions 1; then the cut at the most likely of the low."""
    mixture = pytest.importorskip("sklearn.mixture", reason="the extra `sampling` is not installed")
    g = torch.Generator().manual_seed(seed)
    count = [2, 5, 9, 18, 27, 45][seed]
    low, high = torch.rand(count, generator=g) * 2, 3 + 2 * torch.randn(count, generator=g).abs()
    loss = torch.where(torch.rand(count, generator=g) < 0.4, low, high).sort().values.double()
    found = mixture.GaussianMixture(
        2,
        covariance_type="diag",
        weights_init=[0.5, 0.5],
        means_init=[[loss.min().item()], [loss.max().item()]],
        precisions_init=[[1.0], [1.0]],
    ).fit(loss.numpy()[:, None])
    lower = torch.from_numpy(found.predict(loss.numpy()[:, None]) == 0)
    score = torch.from_numpy(found.score_samples(loss.numpy()[:, None]))
    want = torch.zeros(count, dtype=torch.bool)
    if lower.any():
        kept = lower.nonzero()[:, 0]
        want[kept[: int(score[kept].argmax()) + 1]] = True
    assert torch.equal(lower_part(loss[None], torch.ones(1, count, dtype=torch.bool), 100)[0], want)
    assert found.n_iter_ <= 100 and torch.equal(lower_part(loss[None], torch.ones(1, count).bool(), 20)[0], want)


@pytest.mark.parametrize("topk", [2, 9])
def test_a_naive_loop(topk):
    """Object by object, level by level, with the mixture of this file, of which the last test has the trusted one."""
    matched, objects, logits, outputs, made = scene(topk=topk)
    with Waits() as waits:
        found = made.matcher.rematch(matched, objects, logits, outputs, made)
    assert not waits.found
    (cls, reg), _ = made.values(logits, outputs, matched)
    cost, wanted = (cls + 1.3 * reg).tolist(), set()
    for j in range(M):
        chosen = []
        for level in range(LEVELS):
            mine = [
                r
                for r in range(A)
                if matched.foreground[r] and matched.objects[r] == j and int(matched.levels[r]) == level
            ]
            chosen += sorted(mine, key=lambda r: cost[r])[:topk]
        if len(chosen) >= 2:
            values = torch.tensor([[cost[r] for r in chosen]])
            good = lower_part(values, torch.ones_like(values, dtype=torch.bool), 20)[0]
            wanted |= {r for r, yes in zip(chosen, good.tolist(), strict=True) if yes}
    assert set(found.foreground.nonzero()[:, 0].tolist()) == wanted and wanted
    assert all(found.objects[r] == matched.objects[r] and found.labels[r] == matched.labels[r] for r in wanted)
    assert (found.labels[A:] == K).all() and (found.labels >= 0).all(), "nothing is ignored"


def test_a_diverged_head_breaks_nothing():
    matched, objects, logits, outputs, made = scene()
    found = made.matcher.rematch(matched, objects, logits * math.nan, outputs, made)
    assert found.labels.shape == matched.labels.shape


def test_what_a_loss_remembers_stands_still_while_the_matcher_asks():
    """GHM counts gradients; asked by the matcher it sees them, and counts none."""
    ghm = GHMC()
    matched, objects, logits, outputs, made = scene(classification=ghm)
    made.train()
    made.matcher.rematch(matched, objects, logits, outputs, made)
    assert not ghm._collected and ghm.learns
    made.values(logits, outputs, made._seen(logits, outputs, matched)[2])
    assert ghm._collected


def test_mechanism_regions_of_low_loss_are_kept_and_those_of_high_loss_are_not():
    """Ten equal regions on one object, of which four know its class: these become its foreground."""
    objects = Objects(torch.tensor([[[0.0, 0, 20, 20]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool())
    made = criterion(SigmoidCrossEntropy(), Considered(), box_coder=BoxCoder())
    made.matcher = PAA(topk=20)
    made.build({"p2": 4})
    matched = made.match(torch.tensor([[0.0, 0, 20, 20]] * 10), torch.zeros(10, dtype=torch.int64), objects)
    logits = torch.zeros(10, K)
    logits[[1, 4, 5, 9], 0] = 6.0
    found = made.matcher.rematch(matched, objects, logits, torch.zeros(10, 4), made)
    assert found.foreground.nonzero()[:, 0].tolist() == [1, 4, 5, 9] and matched.foreground.all()


def test_in_the_rpn_and_nowhere_else_of_two_stages():
    with pytest.raises(ValueError, match="RoI heads match once"):
        load_config("baselines/faster_rcnn_shapes", ["paa"])
    words = ["data.train.num_images=12", "model.backbone.widths=[8,8,8,8,8]", "model.neck.channels=8"]
    cfg = load_config("baselines/faster_rcnn_shapes", ["paa@rpn"], words)
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    losses, stats = model(*testing.batch(3, 0, size=64))
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert model.rpn.criterion.matcher.levels == 5


def test_bad_settings():
    for bad in ({"topk": -1}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            PAA(**bad)
