import math

import pytest
import torch

from imbdet.remedies.class_fg_bg.hard_negative_mining import HardNegativeMining

from ._regions import K, batch


def weights(mining, values, matched):
    (classification, regression), stats = mining(values, torch.zeros_like(values), matched)
    assert torch.equal(regression, torch.ones_like(values))
    return classification, stats


def naive(values, matched, ratio, minimum):
    kept = torch.zeros(len(values))
    for image in range(matched.num_images):
        rows = [i for i in range(len(values)) if matched.images[i] == image]
        positives = [i for i in rows if 0 <= matched.labels[i] < K]
        negatives = sorted((i for i in rows if matched.labels[i] == K), key=lambda i: -values[i])
        for i in positives + negatives[: int(max(ratio * len(positives), minimum))]:
            kept[i] = 1
    return kept


def test_neutral_keeps_all():
    m = batch([[0, K, K, K]])
    assert torch.equal(weights(HardNegativeMining(ratio=math.inf), torch.rand(4), m)[0], torch.ones(4))


def test_by_hand():
    """One object and ratio 2: of the losses .1 .5 .3 .9 of the background, .9 and .5 stay."""
    m = batch([[0, K, K, K, K]])
    found, _ = weights(HardNegativeMining(2, 0), torch.tensor([0.2, 0.1, 0.5, 0.3, 0.9]), m)
    assert found.tolist() == [1, 0, 1, 0, 1]


def test_equals_a_naive_loop():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, K + 1, (3, 50), generator=generator)
    labels[1] = K  # an image without objects
    labels[2, :45] = 1  # one with too little background
    m, values = batch(labels), torch.rand(150, generator=generator)
    values = values * m.considered
    for ratio, minimum in ((3, 3), (1, 0), (0.5, 10)):
        found, _ = weights(HardNegativeMining(ratio, minimum), values, m)
        assert torch.equal(found, naive(values, m, ratio, minimum))


def test_no_objects_and_nothing_at_all():
    found, stats = weights(HardNegativeMining(3, 2), torch.rand(6), batch([[K] * 6]))
    assert found.sum() == 2 and stats["hard_negatives/per_image"] == 2
    assert weights(HardNegativeMining(3, 2), torch.zeros(4), batch([[-1] * 4]))[0].sum() == 0


def test_mechanism_the_chosen_are_the_worst_and_the_ratio_holds():
    m, values = batch([[0] * 5 + [K] * 200]), torch.rand(205)
    found, _ = weights(HardNegativeMining(3), values, m)
    chosen = (found == 1) & m.background
    assert chosen.sum() == 15 and values[chosen].min() >= values[m.background & ~chosen].max()


@pytest.mark.parametrize("bad", [{"ratio": 0}, {"minimum": -1}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="ratio above 0"):
        HardNegativeMining(**bad)
