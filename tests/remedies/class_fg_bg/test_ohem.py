import pytest
import torch

from imbdet.modeling.boxes import pairwise_iou
from imbdet.remedies.class_fg_bg.ohem import OHEM, OHEMPerKind
from imbdet.testing import random_boxes

from ._regions import K, batch


def weights(mining, classification, regression, matched):
    (first, second), stats = mining(classification, regression, matched)
    assert torch.equal(first, second)
    return first, stats


def crowded(n=2, a=60, seed=0):
    """Regions of which many overlap, and their losses."""
    g = torch.Generator().manual_seed(seed)
    center = random_boxes(6, seed=seed)[torch.randint(0, 6, (n * a,), generator=g)]
    boxes = center + torch.randn(n * a, 4, generator=g) * 1.5
    boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    labels = torch.randint(-1, K + 1, (n, a), generator=g)
    m = batch(labels, boxes=boxes)
    return m, torch.rand(n * a, generator=g) * m.considered, torch.rand(n * a, generator=g) * m.foreground


def naive(loss, m, per_image, threshold):
    """The authors' rule region by region: greedy by loss within image and label, then the top of the batch."""
    stay = []
    for i in loss.argsort(descending=True).tolist():
        if m.labels[i] < 0:
            continue
        same = [j for j in stay if m.images[j] == m.images[i] and m.labels[j] == m.labels[i]]
        if not same or pairwise_iou(m.boxes[i : i + 1], m.boxes[same]).max() <= threshold:
            stay.append(i)
    kept = torch.zeros(len(loss))
    kept[stay[: per_image * m.num_images]] = 1
    return kept


def test_neutral_keeps_every_region():
    m, classification, regression = crowded()
    found, _ = weights(OHEM(per_image=60, nms_threshold=1.0), classification, regression, m)
    assert torch.equal(found, m.considered.float())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_image, threshold", [(5, 0.7), (20, 0.7), (20, 0.3)])
def test_equals_brute_force(seed, per_image, threshold):
    m, classification, regression = crowded(seed=seed)
    found, _ = weights(OHEM(per_image, threshold), classification, regression, m)
    want = naive(classification + regression, m, per_image, threshold)
    assert torch.equal(found, want) and want.sum() < m.considered.sum()


def test_by_hand():
    """Two boxes of one label overlap by 0.9 and one is of another label: the lower loss of the pair goes."""
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]]
    m = batch([[K, K, 0, K]], boxes=boxes)
    loss = torch.tensor([0.5, 0.9, 0.4, 0.1])
    assert weights(OHEM(per_image=3), loss, torch.zeros(4), m)[0].tolist() == [0, 1, 1, 1]
    assert weights(OHEM(per_image=2), loss, torch.zeros(4), m)[0].tolist() == [0, 1, 1, 0]


def test_a_single_huge_loss_is_always_chosen():
    m, classification, regression = crowded()
    row = int(m.considered.nonzero()[7])
    classification[row] = 100.0
    assert weights(OHEM(per_image=1), classification, regression, m)[0][row] == 1


def test_no_objects_and_nothing_at_all():
    m = batch([[K] * 20])
    assert 0 < weights(OHEM(per_image=5), torch.rand(20), torch.zeros(20), m)[0].sum() <= 5
    assert weights(OHEM(per_image=5), torch.zeros(4), torch.zeros(4), batch([[-1] * 4]))[0].sum() == 0


def test_mechanism_the_chosen_cost_more_than_the_rest():
    m, classification, regression = crowded()
    _, stats = weights(OHEM(per_image=10), classification, regression, m)
    assert stats["ohem/loss_of_chosen"] > 1.5 * stats["ohem/loss_of_rest"]


def test_per_kind_against_a_naive_count():
    """mmdetection's rule: at most a quarter foreground, the hardest of each kind by classification loss."""
    m, classification, regression = crowded(n=1)
    found, _ = weights(OHEMPerKind(16, 0.25), classification, regression, m)
    for kind, count in ((m.foreground, 4), (m.background, 12)):
        rows = kind.nonzero().flatten()
        hardest = rows[classification[rows].argsort(descending=True)[:count]]
        assert set(hardest.tolist()) == set(((found == 1) & kind).nonzero().flatten().tolist())


@pytest.mark.parametrize("bad", [{"per_image": 0}, {"candidates": 3}, {"nms_threshold": 2}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="per_image <= candidates"):
        OHEM(**bad)
