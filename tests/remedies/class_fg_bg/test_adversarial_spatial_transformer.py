"""ASTN: turns within its limit, an angle for each block, an adversary that climbs what the detector descends."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from imbdet.config import instantiate, load_config
from imbdet.modeling.count import OperatorCount
from imbdet.modeling.defaults import Chain
from imbdet.remedies.class_fg_bg._adversary import Phases
from imbdet.remedies.class_fg_bg.adversarial_spatial_transformer import (
    AdversarialSpatialTransformer,
    LocalizationNetwork,
    turn,
)
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
from tests.modeling.adversaries import (
    DROPOUT,
    TRANSFORMER,
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
FOREGROUND = [0, 1, 3, 5, 7]


def transformer(network=True, **settings):
    return AdversarialSpatialTransformer(LocalizationNetwork([16]) if network else None, **settings)


def one_pass(change, labels=LABELS, classification=None, seed=0, images=1):
    """Head, features, changed features, losses, stats."""
    torch.manual_seed(seed)
    head, matched = stage(change, classification), some_regions(labels, images)
    features = torch.rand(len(labels), C, S, S, requires_grad=True)
    change.begin_step()
    changed, stats = change(features, matched, head)
    losses, more = change.settle({"loss_cls": torch.zeros(())}, head.head(changed)[0], matched)
    return head, features, changed, losses, {**stats, **more}


# turning


def test_no_angle_is_the_identity():
    x = torch.randn(3, C, S, S)
    assert torch.allclose(turn(x, torch.zeros(3, 4)), x, atol=1e-6)


def test_a_quarter_turn_by_hand():
    """Each of four blocks by its own number of quarters: what `rot90` gives."""
    x = torch.randn(2, 8, S, S)
    turned = turn(x, torch.tensor([[0.0, 1, 2, 3]]).expand(2, -1) * math.pi / 2)
    for block in range(4):
        own = x[:, 2 * block : 2 * block + 2]
        assert torch.allclose(turned[:, 2 * block : 2 * block + 2], own.rot90(block, (2, 3)), atol=1e-5)


def test_against_a_naive_loop():
    """Cell by cell: x'(r) = bilinear x at R_a r about the middle, with zeros beyond the outer cells."""
    x, angle = torch.rand(1, 1, S, S), 0.3
    turned, c, s, middle = turn(x, torch.tensor([[angle]]))[0, 0], math.cos(angle), math.sin(angle), (S - 1) / 2
    for row in range(S):
        for column in range(S):
            dx, dy = column - middle, row - middle
            u, v = c * dx - s * dy + middle, s * dx + c * dy + middle
            want = 0.0
            for i in range(S):
                for j in range(S):
                    want += x[0, 0, i, j].item() * max(0, 1 - abs(v - i)) * max(0, 1 - abs(u - j))
            assert turned[row, column].item() == pytest.approx(want, abs=1e-5)


def test_mixed_precision_turns_as_exactly():
    x, angles = torch.rand(2, C, S, S).bfloat16(), torch.full((2, 4), 0.15)
    with torch.autocast("cpu", torch.bfloat16):
        turned = turn(x, angles)
    assert turned.dtype == torch.bfloat16 and torch.equal(turned, turn(x.float(), angles).bfloat16())


def test_it_starts_with_nothing_turned():
    _, features, changed, _, stats = one_pass(transformer())
    assert torch.allclose(features, changed, atol=1e-6) and stats["transformer/angle"] == 0


def test_angles_stay_within_the_limit_and_differ_between_blocks():
    change = transformer()
    change.build(C, S)
    for scale, least in ((1.0, 0.0), (1e4, 9.99)):
        torch.nn.init.normal_(change.network.layers[-1].weight, std=scale)
        x = torch.randn(50, C, S, S)
        angles = change.angles(x, change.network(x)).detach() * 180 / math.pi
        assert angles.shape == (50, 4) and least < angles.abs().max() <= 10 + 1e-5
        assert angles.std(dim=1).mean() > 0.1


def test_only_foreground_is_turned():
    change = transformer()
    change.build(C, S)
    torch.nn.init.normal_(change.network.layers[-1].weight)
    change.build = lambda *shape: None
    _, features, changed, _, stats = one_pass(change)
    moved = (features != changed).flatten(1).any(1)
    assert moved.nonzero().flatten().tolist() == FOREGROUND and 0 < stats["transformer/angle"] <= 10


# the game


@pytest.mark.parametrize("classification", [None, FocalLoss()], ids=["softmax", "sigmoid"])
def test_loss_against_a_naive_loop(classification):
    """-mean log p(true class) over foreground, weight 2; before training nothing is turned."""
    head, features, _, losses, stats = one_pass(transformer(weight=2.0), classification=classification)
    want = []
    for i in FOREGROUND:
        logits = head.head(features[i : i + 1])[0][0]
        want.append((logits.softmax(0) if classification is None else logits.sigmoid())[LABELS[i]].item())
    assert losses["loss_transformer"].item() == pytest.approx(-2 * sum(map(math.log, want)) / 5, rel=1e-4)
    for when in ("before", "after"):
        assert stats[f"transformer/{when}"].item() == pytest.approx(sum(want) / 5, rel=1e-4)


def test_every_other_image_stays_unturned_while_the_detector_learns():
    """Regions 0 to 3 are of the first image, 4 to 7 of the second; in the second phase, all are turned."""
    change = transformer()
    change.build(C, S)
    torch.nn.init.normal_(change.network.layers[-1].weight)
    change.build = lambda *shape: None
    turned = [one_pass(change, images=2)[1:3] for _ in range(2)]
    moved = [(before != after).flatten(1).any(1).nonzero().flatten().tolist() for before, after in turned]
    assert sorted(moved) == [[0, 1, 3], [5, 7]]
    change.phases = Phases(detector=0, adversary=10)
    _, before, after, _, _ = one_pass(change, images=2)
    assert (before != after).flatten(1).any(1).nonzero().flatten().tolist() == FOREGROUND


@pytest.mark.parametrize(("penalty", "comes_back"), [(0.01, True), (0.0, False)])
def test_a_network_that_turns_all_it_can_comes_back(penalty, comes_back):
    """At f = 12 tanh has no gradient: without the penalty all regions stay at 10 degrees for good."""
    change = transformer(penalty=penalty, phases=Phases(detector=0, adversary=1000))
    change.build(C, S)
    torch.nn.init.constant_(change.network.layers[-1].bias, 12.0)
    change.build = lambda *shape: None
    optimizer, (_, _, _, losses, first) = torch.optim.AdamW(change.parameters(), lr=0.1), one_pass(change)
    for _ in range(150):
        optimizer.zero_grad()
        losses["loss_transformer"].backward()
        optimizer.step()
        _, _, _, losses, last = one_pass(change)
    assert first["transformer/angle"] > 9.99
    assert (last["transformer/angle"] < 9.9) == comes_back


def nudged(network):
    """Away from angles of exactly 0, where bilinear sampling has a kink and the gradient is that of one side."""
    torch.nn.init.constant_(network.layers[-1].bias, 0.3)
    return network


def test_gradients_of_the_two_players():
    """The network's loss reaches the network alone, with its sign changed; the detector's reaches the features through
    the sampling, and not the network. A small step of gradient descent raises the loss by rate * |gradient|^2.
    """
    change = transformer()
    head, features, changed, *_ = one_pass(change)
    changed.square().sum().backward()
    assert all(p.grad is None for p in change.parameters())
    assert torch.allclose(features.grad, 2 * features, atol=1e-4)  # nothing is turned yet
    features.grad, bias, losses = None, nudged(change.network).layers[-1].bias, []
    for _ in range(2):
        change(features, some_regions(LABELS), head)
        losses.append(change.settle({}, torch.zeros(len(LABELS), K + 1), some_regions(LABELS))[0]["loss_transformer"])
        if len(losses) == 1:
            losses[0].backward()
            bias.data -= 0.01 * bias.grad
    assert features.grad is None
    assert all(p.grad is None for part in (head.box_head, head.box_predictor) for p in part.parameters())
    rise = 0.01 * bias.grad.square().sum().item()
    assert rise > 0 and (losses[1] - losses[0]).item() == pytest.approx(rise, rel=0.05)


def test_mechanism_a_step_of_the_adversary_raises_the_cross_entropy_of_a_frozen_detector():
    """In a whole detector at rest, on the same batch; nothing of the detector changes."""
    model = tiny_detector([TRANSFORMER], phase="adversary")
    for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_head.fc1):
        torch.nn.init.normal_(layer.weight, std=0.5)  # sure enough of something to be led astray
    nudged(model.roi_heads.region_features.network)
    optimizer, batch = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1), scene(3, 4)

    def entropy():
        torch.manual_seed(3)
        losses, stats = model(*batch)
        return losses, losses["loss_transformer"].item(), stats["roi/transformer/after"]

    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses, first, sure = entropy()
    sum(losses.values()).backward()
    optimizer.step()
    _, second, less = entropy()
    assert second > first + 0.1 and less < sure
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("roi_heads.region_features.") for name in changed)


# what it must equal


@pytest.mark.parametrize("settings", [{"max_angle": 0.0}, {"phase": "detector"}], ids=["max_angle=0", "first phase"])
def test_neutral_setting_equals_the_baseline_exactly(settings):
    """Three steps of AdamW, bit for bit: the same random numbers are drawn."""
    (plain, losses), (remedied, more) = (three_steps(remedies, **settings) for remedies in ((), (TRANSFORMER,)))
    assert all(torch.equal(value, remedied[name]) for name, value in plain.items())
    assert all(torch.equal(value, more[name]) for name, value in losses.items()) and more["loss_transformer"] == 0


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


@pytest.mark.parametrize("remedies", [(TRANSFORMER,), (DROPOUT, TRANSFORMER)], ids=["alone", "after dropout"])
def test_at_test_the_network_is_the_baseline(remedies):
    plain, remedied = tiny_detector().eval(), tiny_detector(remedies, seed=5).eval()
    remedied.load_state_dict(plain.state_dict(), strict=False)
    for detector in (plain, remedied):
        detector.score_threshold = 0.0
    with torch.no_grad():
        for a, b in zip(plain(scene(2, 3)[0]), remedied(scene(2, 3)[0]), strict=True):
            assert len(a["boxes"]) and all(torch.equal(a[key], b[key]) for key in a)


# batches, precision, cost


@pytest.mark.parametrize("remedies", [(TRANSFORMER,), (DROPOUT, TRANSFORMER)], ids=["alone", "after dropout"])
@pytest.mark.parametrize("phase", ["adversary", "joint"])
@pytest.mark.parametrize(
    "counts, side", [((0, 0), 30), ((1, 0), 30), ((300, 2), 20), ((4, 3), 2)], ids=["none", "one", "300", "2 px"]
)
def test_any_objects_train(phase, counts, side, remedies):
    model = tiny_detector(remedies, phase=phase)
    losses, stats = model(*scene(*counts, side=side))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    learns = {name.startswith("roi_heads.region_features.") for name in grads}
    assert learns == ({True} if phase == "adversary" else {True, False})
    assert not any(torch.is_tensor(v) and v.requires_grad for v in stats.values())
    if not any(counts):
        assert losses["loss_transformer"] == 0


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_mixed_precision(phase):
    model = tiny_detector([DROPOUT, TRANSFORMER], phase=phase)
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = model(*scene(2, 3))
    assert losses["loss_transformer"].dtype == torch.float32 and all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    head = [p.grad for p in model.roi_heads.box_head.parameters()]
    assert all(g is None if phase == "adversary" else g.abs().sum() > 0 for g in head)
    assert model.roi_heads.region_features.parts[1].network.layers[-1].bias.grad.abs().sum() > 0


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_nothing_grows_with_the_images(phase):
    model, counts = tiny_detector([DROPOUT, TRANSFORMER], phase=phase), []
    plain = tiny_detector()
    for n in (2, 8):
        batch = scene(*[3] * n)
        with OperatorCount() as count:
            model(*batch)
        with OperatorCount() as baseline:
            plain(*batch)
        assert count.synchronizations == baseline.synchronizations
        counts.append(count.operators - baseline.operators)  # the baseline's depend on what it has to suppress
    assert counts[0] == counts[1] < 400


def test_copies_of_a_cascade_are_independent():
    first = transformer()
    first.build(C, S)
    second = copy.deepcopy(first)
    second.begin_step()
    torch.nn.init.ones_(second.network.layers[-1].bias)
    assert (first.phases.batches, second.phases.batches) == (0, 1) and first.network.layers[-1].bias.abs().sum() == 0


# composition, the control, settings


def test_after_dropout_what_was_hidden_is_turned():
    cfg = load_config("baselines/faster_rcnn_shapes", [DROPOUT, TRANSFORMER])
    chain = instantiate(tiny_config([DROPOUT, TRANSFORMER]).model.roi_heads.region_features)
    assert isinstance(chain, Chain) and [part.name for part in chain.parts] == ["dropout", "transformer"]
    assert cfg.train.max_iter == 400  # of the detector's updates
    chain.parts[0].spared_every = chain.parts[1].spared_every = 0
    head, matched = stage(chain), some_regions(LABELS)
    features, seen = torch.rand(len(LABELS), C, S, S), []
    chain.parts[1].register_forward_hook(lambda module, args, output: seen.append((args[0], output[0])))
    changed, stats = chain(features, matched, head)
    (masked, turned), *_ = seen
    assert (masked[FOREGROUND] == 0).sum() == 5 * 15 * C and torch.equal(changed, turned)
    losses, more = chain.settle({"loss_cls": torch.zeros(())}, head.head(changed)[0], matched)
    assert set(losses) == {"loss_cls", "loss_dropout", "loss_transformer"}
    assert {"dropout/harmful", "transformer/after"} <= set(more)


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_in_every_stage_of_a_cascade(phase):
    model = tiny_detector(["cascade_rcnn", DROPOUT, TRANSFORMER], phase=phase)
    losses, _ = model(*scene(2, 3))
    assert {f"loss_{name}_stage{t}" for name in ("dropout", "transformer") for t in range(3)} <= set(losses)
    sum(losses.values()).backward()
    learning = [name for name, p in model.named_parameters() if p.grad is not None]
    mine = {name.startswith("roi_heads.region_features.") for name in learning}
    assert mine == ({True} if phase == "adversary" else {True, False})
    stages = [chain.parts for chain in model.roi_heads.region_features]
    assert [[part.phases.batches for part in parts] for parts in stages] == [[1, 1]] * 3
    assert all(parts[1].network.layers[-1].bias.grad is not None for parts in stages)


def test_the_other_order_is_refused():
    with pytest.raises(ValueError, match=f"'{TRANSFORMER}' wraps '{DROPOUT}', so name it after"):
        load_config("baselines/faster_rcnn_shapes", [TRANSFORMER, DROPOUT])


def test_the_control_turns_at_random():
    """Even over +-10 degrees: a mean size of 5, 0.3 being 4 deviations of the mean of 400 angles."""
    change = transformer(network=False)
    _, features, changed, losses, stats = one_pass(change, [0] * 100)
    assert not list(change.parameters()) and "loss_transformer" not in losses
    assert stats["transformer/angle"].item() == pytest.approx(5, abs=0.6) and not torch.equal(features, changed)


@pytest.mark.parametrize("bad", [{"max_angle": -1}, {"max_angle": 181}, {"blocks": 0}, {"weight": -1}, {"penalty": -1}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        AdversarialSpatialTransformer(**bad)


def test_channels_that_cannot_be_cut():
    with pytest.raises(ValueError, match="8 channels cannot be cut into 3 equal blocks"):
        transformer(blocks=3).build(C, S)


def test_config():
    cfg = load_config("baselines/faster_rcnn_shapes", [TRANSFORMER])
    made = instantiate(cfg.model.roi_heads.region_features)
    assert made.network.widths == (256, 256) and cfg.train.find_unused_parameters
    assert (cfg.train.max_iter, made.phases.detector, made.phases.adversary) == (400, 80, 40)


def test_cross_entropy_is_that_of_the_head():
    """With softmax, the loss is torch's cross entropy of the foreground."""
    head, features, _, losses, _ = one_pass(transformer())
    want = F.cross_entropy(head.head(features[FOREGROUND])[0], torch.tensor(LABELS)[FOREGROUND])
    assert losses["loss_transformer"].item() == pytest.approx(want.item(), rel=1e-4)
