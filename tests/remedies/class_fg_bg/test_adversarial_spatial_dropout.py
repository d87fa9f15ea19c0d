"""ASDN: windows and masks as specified, an adversary that learns from harm alone, and a detector that it never touches
but through its masks.
"""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from imbdet.config import instantiate
from imbdet.remedies.class_fg_bg._adversary import Phases, choose_foreground
from imbdet.remedies.class_fg_bg.adversarial_spatial_dropout import (
    AdversarialSpatialDropout,
    MaskNetwork,
    hidden_cells,
    window_masks,
    worst_window,
)
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
from imbdet.structures import Picture
from tests.modeling.adversaries import (
    DROPOUT,
    C,
    K,
    S,
    parts_of,
    scene,
    some_regions,
    stage,
    tiny_config,
    tiny_detector,
)

LABELS = [0, 1, K, 2, -1, 0, K, 1]
CELLS = S * S


def dropout(network=True, **settings):
    settings = {"unmasked_every": 0, **settings}
    return AdversarialSpatialDropout(MaskNetwork(width=8) if network else None, **settings)


def attacked(change, labels=LABELS, images=1, classification=None, seed=1):
    """One pass of a stage: features, matched, losses, stats, what came out of the slot."""
    head, matched = stage(change, classification), some_regions(labels, images)
    features = torch.rand(len(labels), C, S, S, generator=torch.Generator().manual_seed(seed)) + 0.1
    features.requires_grad_()
    seen = []
    change.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    change.begin_step()
    losses, stats, _ = head.losses(features, matched)
    return features, matched, losses, stats, seen[0]


def masks_of(features, changed):
    """(R, S * S) bool, where all channels are hidden; fails where only some are."""
    hidden = (changed == 0).flatten(2)
    assert torch.equal(hidden.any(1), hidden.all(1)), "a mask differs between channels"
    visible = ~hidden.any(1)
    assert torch.equal(
        changed.flatten(2)[visible.unsqueeze(1).expand_as(hidden)],
        features.flatten(2)[visible.unsqueeze(1).expand_as(hidden)],
    )
    return hidden.any(1)


# what it must equal


@pytest.mark.parametrize("settings", [{"dropped": 0}, {"phase": "detector"}], ids=["dropped=0", "first phase"])
def test_neutral_setting_equals_the_baseline_exactly(settings):
    """Three steps of AdamW, bit for bit: the same random numbers are drawn."""
    (plain, losses), (remedied, more) = (three_steps(remedies, **settings) for remedies in ((), (DROPOUT,)))
    assert all(torch.equal(value, remedied[name]) for name, value in plain.items())
    assert all(torch.equal(value, more[name]) for name, value in losses.items()) and more["loss_dropout"] == 0


def three_steps(remedies, phase="joint", **settings):
    """State and losses after three steps."""
    cfg = tiny_config(remedies, phase=phase)
    for node in parts_of(cfg):
        node.update(settings)
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    torch.manual_seed(1)
    for _ in range(3):
        losses, _ = model(*scene(2, 0, 3))
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict(), losses


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_at_test_the_network_is_the_baseline(phase):
    plain, remedied = tiny_detector().eval(), tiny_detector([DROPOUT], phase=phase, seed=5).eval()
    remedied.load_state_dict(plain.state_dict(), strict=False)
    for detector in (plain, remedied):
        detector.score_threshold = 0.0
    with torch.no_grad():
        for a, b in zip(plain(scene(2, 3)[0]), remedied(scene(2, 3)[0]), strict=True):
            assert len(a["boxes"]) and all(torch.equal(a[key], b[key]) for key in a)


# the second phase


def test_windows_by_hand():
    """7 cells, window 2, stride 2: starts 0, 2, 4, 5 on both axes; 16 windows of 4 cells that cover all 49."""
    found = window_masks(7, 2, 2).view(16, 7, 7)
    starts = [tuple(w.nonzero()[0].tolist()) for w in found]
    assert starts == [(y, x) for y in (0, 2, 4, 5) for x in (0, 2, 4, 5)]
    assert (found.sum((1, 2)) == 4).all() and (found.sum(0) > 0).all()
    assert window_masks(6, 3, 3).sum(0).eq(1).all()  # a tiling when it fits


@pytest.mark.parametrize("classification", [None, FocalLoss()], ids=["softmax", "sigmoid"])
def test_worst_window_against_a_naive_loop(classification):
    """Window by window and region by region; the probability is the classification's own."""
    torch.manual_seed(0)
    head, x, labels = stage(classification=classification), torch.rand(5, C, S, S), torch.tensor([0, 1, 2, 1, 0])
    masks = window_masks(S, 2, 2)
    target, before, after = worst_window(x, labels, masks, head)
    for i, label in enumerate(labels.tolist()):
        values = []
        for mask in masks:
            logits = head.head(x[i : i + 1] * (1 - mask.view(1, 1, S, S)))[0][0]
            values.append((logits.softmax(0) if classification is None else logits.sigmoid())[label].item())
        best = min(range(16), key=values.__getitem__)
        assert torch.equal(target[i], masks[best]) and after[i].item() == pytest.approx(values[best], rel=1e-4)
        assert before[i] > 0


def test_second_phase_by_hand():
    """Logits of 0 give a binary cross entropy of ln 2 for every cell; the mean over foreground is ln 2."""
    change = dropout(phases=Phases(0, 9))
    change.build(C, S)
    change.build = lambda channels, size: None
    for parameter in change.network.parameters():
        torch.nn.init.zeros_(parameter)
    _, _, losses, stats, changed = attacked(change)
    assert losses["loss_dropout"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert stats["dropout/after"] < stats["dropout/before"]


def test_the_second_phase_hides_nothing_and_finds_the_windows():
    """After 80 steps on the same regions, the label windows are among the network's likely cells."""
    torch.manual_seed(0)
    change = dropout(phases=Phases(0, 999))
    head, matched, features = stage(change), some_regions(LABELS), torch.rand(len(LABELS), C, S, S)
    change.begin_step()
    optimizer, found = torch.optim.Adam(change.parameters(), 1e-2), []
    for _ in range(80):
        changed, stats = change(features, matched, head)
        losses, _ = change.settle({}, torch.zeros(len(LABELS), K + 1), matched)
        losses["loss_dropout"].backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(stats["dropout/found"])
        assert torch.equal(changed, features)
    assert found[0] < 0.7 and found[-1] > 0.9, found[-1]


# the third phase


def test_fifteen_of_the_twenty_likeliest_cells_of_foreground_are_hidden():
    change = dropout()
    features, matched, _, _, changed = attacked(change)
    hidden = masks_of(features, changed)
    assert hidden.sum(1).tolist() == [15, 15, 0, 15, 0, 15, 0, 15]  # none of background and of the ignored
    likely = change.network(features.detach()).topk(20, dim=1).indices
    assert all(set(hidden[i].nonzero().flatten().tolist()) <= set(likely[i].tolist()) for i in (0, 1, 3, 5, 7))


def test_hidden_cells_are_drawn_evenly():
    """20,000 draws of 15 of 20: each candidate in 0.75 of them, 0.02 being 6 deviations; no other cell ever."""
    torch.manual_seed(0)
    cells = torch.randn(1, CELLS).expand(20000, -1)
    share = hidden_cells(cells, 15, 20).mean(0)
    top = cells[0].topk(20).indices
    assert ((share[top] - 0.75).abs() < 0.02).all() and share.sum() == pytest.approx(15)
    share = hidden_cells(cells, 15, None).mean(0)
    assert ((share - 15 / CELLS).abs() < 0.02).all()


def third_phase(**settings):
    """One pass with a head of known weights: its parts, and the network's logits with a gradient to look at."""
    torch.manual_seed(3)
    change, cells = dropout(**settings), []
    head, matched = stage(change), some_regions(LABELS)
    change.network.register_forward_hook(lambda module, args, out: (out.retain_grad(), cells.append(out))[0])
    features = torch.rand(len(LABELS), C, S, S, generator=torch.Generator().manual_seed(1)) + 0.1
    features.requires_grad_()
    changed, _ = change(features, matched, head)
    losses, stats = change.settle({}, head.head(changed)[0], matched)
    return change, head, features, changed, losses["loss_dropout"], stats, cells[0]


def test_third_phase_against_a_naive_loop():
    """sum over harmful regions of BCE(a, t) / (M * 49) * weight, M = 5 regions that are masked, weight 0.5; harmless
    masks, background and ignored regions have a gradient of exactly 0, and so has all but the network.
    """
    change, head, features, changed, loss, stats, cells = third_phase(margin=0.02, weight=0.5)
    hidden, want, harmful = masks_of(features, changed), 0.0, []
    for i, label in enumerate(LABELS):
        logits = (head.head(x[i : i + 1])[0][0] for x in (features, changed))
        before, after = (x.softmax(0)[min(label, K - 1)].item() for x in logits)
        if 0 <= label < K and after + 0.02 < before:
            harmful.append(i)
            own = change.network(features[i : i + 1])[0]
            want += F.binary_cross_entropy_with_logits(own, hidden[i].float(), reduction="sum").item()
    assert 0 < len(harmful) < 5, "the example must hold harmful and harmless masks"
    assert loss.item() == pytest.approx(0.5 * want / (5 * CELLS), rel=1e-5)
    assert stats["dropout/harmful"].item() == pytest.approx(len(harmful) / 5)
    loss.backward()
    assert cells.grad.abs().sum(1).count_nonzero() == len(harmful)
    assert all(p.grad is None for part in (head.box_head, head.box_predictor) for p in part.parameters())
    assert features.grad is None
    assert all(layer.weight.grad.abs().sum() > 0 for layer in change.network.layers[::2])


def test_no_harm_no_gradient():
    *_, loss, stats, cells = third_phase(margin=1.0)
    loss.backward()
    assert loss == 0 and stats["dropout/harmful"] == 0 and torch.equal(cells.grad, torch.zeros_like(cells))


def test_weight_0_leaves_the_network_alone_in_the_third_phase():
    """It still hides its cells; alone, it learned with weight 1."""
    features, _, losses, _, changed = attacked(dropout(weight=0.0, margin=-1.0))
    assert losses["loss_dropout"] == 0 and not losses["loss_dropout"].requires_grad
    assert masks_of(features, changed).sum(1).tolist() == [15, 15, 0, 15, 0, 15, 0, 15]
    _, _, losses, _, _ = attacked(dropout(weight=0.0, phases=Phases(0, 9)))
    assert losses["loss_dropout"] > 0 and losses["loss_dropout"].requires_grad


def test_every_other_image_stays_unmasked_and_they_take_turns():
    labels = [0, 1, 2, 0] * 3  # three images of four
    change = dropout(unmasked_every=2, margin=-1.0)  # every mask counts as harmful
    for turn in range(2):
        change.build = AdversarialSpatialDropout.build.__get__(change) if turn == 0 else lambda *shape: None
        features, _, losses, stats, changed = attacked(change, labels, images=3)
        masked = masks_of(features, changed).any(1).view(3, 4)
        assert masked.all(1).tolist() == ([False, True, False] if turn else [True, False, True])
        assert torch.equal(masked.any(1), masked.all(1)) and stats["dropout/harmful"] == 1


def test_unmasked_images_teach_nothing():
    change = dropout(unmasked_every=2, margin=-1.0)
    features, _, losses, _, changed = attacked(change, [0, 1, 2, K], images=1)
    assert losses["loss_dropout"] > 0
    change.build = lambda *shape: None
    features, _, losses, _, changed = attacked(change, [0, 1, 2, K], images=1)
    assert losses["loss_dropout"] == 0 and torch.equal(changed, features)


@pytest.mark.parametrize("network", [True, False])
def test_background_may_be_hidden_too(network):
    """All but the ignored region; the network and the stats learn of foreground alone, at most a share of 5 / 7."""
    change = dropout(network, background=True, margin=-1.0)
    features, matched, losses, stats, changed = attacked(change)
    assert masks_of(features, changed).sum(1).tolist() == [15 if label >= 0 else 0 for label in LABELS]
    if network:
        cells, target = change.network(features).detach(), masks_of(features, changed).float()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(cells, target, reduction="none").sum(1)
        foreground = entropy[matched.foreground].sum()
        assert losses["loss_dropout"].item() == pytest.approx(foreground.item() / (5 * CELLS), rel=1e-4)
        assert stats["dropout/harmful"] == 1


def test_mechanism_a_step_of_the_adversary_raises_the_cross_entropy_of_a_frozen_detector():
    """Class 0 shows in channel 0 of one window, elsewhere in every region, and the head reads that channel: after one
    step on the labels of the search, more of the window is hidden than before.
    """
    torch.manual_seed(0)
    change = dropout(phases=Phases(0, 1))
    head, matched = stage(change), some_regions([0] * 32)
    head.box_head.fc1.weight.data.view(16, C, CELLS)[:] = torch.tensor([0.1] + [0.0] * (C - 1)).unsqueeze(1)
    head.box_predictor.cls_score.weight.data[:] = torch.tensor([0.1, -0.1, -0.1, -0.1]).unsqueeze(1)
    features = torch.rand(32, C, S, S)
    features[:, 0] = 3 * window_masks(S, 2, 2)[torch.randint(0, 16, (32,))].view(32, S, S)
    optimizer = torch.optim.SGD(change.parameters(), 1.0)

    def entropy():
        """Mean cross entropy of what the third phase would let the detector see."""
        torch.manual_seed(1)
        return F.cross_entropy(head.head(change.hide(features, matched, head)[0])[0], matched.labels).item()

    before = entropy()
    assert not change.begin_step()
    change(features, matched, head)
    change.settle({}, torch.zeros(32, K + 1), matched)[0]["loss_dropout"].backward()
    optimizer.step()
    assert entropy() > before + 0.1


def test_copies_of_a_cascade_are_independent():
    first = dropout()
    first.build(C, S)
    second = copy.deepcopy(first)
    second.begin_step()
    second.network.layers[0].weight.data.zero_()
    assert (first.phases.batches, second.phases.batches) == (0, 1) and first.network.layers[0].weight.abs().sum() > 0


# the control, the regions, settings, config


def test_the_control_hides_as_many_cells_anywhere():
    change = dropout(network=False)
    features, _, losses, stats, changed = attacked(change)
    hidden = masks_of(features, changed)
    assert hidden.sum(1).tolist() == [15, 15, 0, 15, 0, 15, 0, 15]
    assert not list(change.parameters()) and "loss_dropout" not in losses and set(stats) >= {"dropout/after"}


def test_the_control_rests_as_long_as_the_adversary():
    """In the second phase it hides nothing and the detector does not learn; it sees as many batches."""
    learned = []
    for network in (True, False):
        change = dropout(network, phases=Phases(2, 3))
        learned.append([(change.rests, change.begin_step()) for _ in range(7)])
    assert learned[0] == learned[1] == [(False, True)] * 2 + [(True, False)] * 3 + [(False, True)] * 2
    change = dropout(network=False, phases=Phases(0, 1))
    features, _, losses, _, changed = attacked(change)
    assert torch.equal(features, changed) and set(losses) == {"loss_cls", "loss_box_reg"}
    neutral = dropout(dropped=0, phases=Phases(0, 5))
    assert not neutral.rests and neutral.begin_step()  # what changes nothing never rests


def test_at_most_so_many_regions_of_an_image():
    matched = some_regions([0] * 6 + [K, 1, K, K, -1, K], images=2)
    index, kept = choose_foreground(matched, 4)
    assert index.shape == (8,) and len(index.unique()) == 8
    assert (index[:4] < 6).all() and (index[4:] >= 6).all() and kept.tolist() == [True] * 5 + [False] * 3
    assert len(choose_foreground(matched, 99)[0]) == 12
    features, _, _, _, changed = attacked(dropout(per_image=3), [0] * 6)
    assert masks_of(features, changed).any(1).sum() == 3


def test_the_picture():
    _, _, _, stats, _ = attacked(dropout())
    picture = stats["dropout/masks"]
    assert isinstance(picture, Picture)
    drawn = picture.draw()
    assert drawn.dtype == torch.uint8 and drawn.shape == (3, 7 * 8, 8 * 60 - 4)
    red = (drawn == torch.tensor([220, 60, 40], dtype=torch.uint8).view(3, 1, 1)).all(0)
    assert red.sum() == 5 * 15 * 64  # five regions of 15 cells of 8 x 8 pixels


def test_the_published_network():
    """Four convolutions of 256 channels on whatever comes, one of a single channel, all 3 x 3; a chance of 4 of 49."""
    network = MaskNetwork()
    network.build(512, prior=4 / 49)
    layers = list(network.layers[::2])
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(512, 256)] + [(256, 256)] * 3 + [(256, 1)]
    assert all(layer.kernel_size == (3, 3) for layer in layers) and len(network.layers) == 9
    assert layers[-1].bias.sigmoid().item() == pytest.approx(4 / 49)


@pytest.mark.parametrize(
    "bad, word",
    [
        ({"dropped": 21}, "candidates 20"),
        ({"dropped": -1}, "dropped -1"),
        ({"stride": 0}, "stride"),
        ({"unmasked_every": 1}, "unmasked_every is 1"),
        ({"per_image": 0}, "per_image"),
    ],
)
def test_bad_settings(bad, word):
    with pytest.raises(ValueError, match=word):
        AdversarialSpatialDropout(**bad)


def test_settings_that_do_not_fit_the_region():
    with pytest.raises(ValueError, match="candidates is 20, but a region has 16 cells"):
        dropout().build(C, 4)
    with pytest.raises(ValueError, match="window of 7 cells leaves nothing"):
        dropout(window=7).build(C, 7)
