"""Where taps look, and features: torchvision's kernel, plain convolutions, formulas, gradients."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from imbdet import testing
from imbdet.remedies.spatial_iou._hierarchical_shot_layers import (
    EnhancedPyramid,
    Look,
    PositionAttention,
    ShiftedConv,
    by_kernel,
    by_sampling,
    conv_norm,
)
from tests.remedies.spatial_iou.hierarchical_shot.cases import build, maps_of, moved


@pytest.mark.parametrize("n, c, h, w, g", [(2, 4, 7, 5, 3), (1, 4, 1, 1, 3), (2, 3, 1, 3, 2)])
def test_sampling_equals_the_kernel(n, c, h, w, g):
    """Values and all gradients, with taps outside of the map, on maps of one cell, too."""
    rng = torch.Generator().manual_seed(0)
    shapes = ((n, c, h, w), (n, g * 18, h, w), (6, g * c, 3, 3), (6,))
    inputs = [(torch.randn(s, generator=rng, dtype=torch.float64) * 1.5).requires_grad_() for s in shapes]
    ours, theirs = by_sampling(*inputs), by_kernel(*inputs)
    towards = torch.randn(ours.shape, generator=rng, dtype=torch.float64)
    for a, b in zip(
        (ours, *torch.autograd.grad(ours, inputs, towards)),
        (theirs, *torch.autograd.grad(theirs, inputs, towards)),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-9)


def test_at_first_a_plain_convolution_on_the_tiled_map():
    """Property 1: every offset is 0, and so the output is conv2d's on the map three times in a row."""
    look, conv, x = Look(3), ShiftedConv(4, 6, 3, bias=0.5), torch.randn(2, 4, 7, 5)
    offset = look(torch.randn(2, 12, 7, 5))
    assert offset.shape == (2, 54, 7, 5) and (offset == 0).all()
    plain = F.conv2d(torch.cat([x, x, x], dim=1), conv.weight, conv.bias, padding=1)
    for found in (
        conv(x, offset),
        conv(x, None),
        deform_conv2d(x.repeat(1, 3, 1, 1), offset, conv.weight, conv.bias, padding=1),
    ):
        assert torch.allclose(found, plain, atol=1e-6)


@pytest.mark.parametrize("anchor", [0, 1, 2])
def test_an_anchor_moves_its_own_taps_only(anchor):
    """Property 5: of 54 offsets, those of group g follow the four deltas of anchor g and no others."""
    look, deltas = Look(3), torch.randn(1, 12, 4, 4)
    torch.nn.init.normal_(look.taps.weight)
    other = deltas.clone()
    other[:, 4 * anchor : 4 * anchor + 4] += 1
    changed = (look(deltas) != look(other)).flatten(2).any(dim=2)[0]
    assert changed.view(3, 18).any(dim=1).tolist() == [g == anchor for g in range(3)]


def test_without_movement_it_equals_its_control():
    model, control = build().eval(), build("model.shift=false").eval()
    control.load_state_dict(model.state_dict(), strict=False)
    features, sizes = maps_of(model)
    for mine, other in zip(model.shots(features, sizes), control.shots(features, sizes), strict=True):
        assert torch.allclose(mine.deltas, other.deltas, atol=1e-5)
        assert torch.allclose(mine.logits, other.logits, atol=1e-5)
    moved(model)
    shots = model.shots(features, sizes)
    assert not torch.allclose(shots[1].logits, control.shots(features, sizes)[1].logits, atol=1e-3)
    assert not torch.equal(shots[0].offsets[0], shots[1].offsets[0])
    for look in model.steps[1].look:
        torch.nn.init.zeros_(look.taps.weight)
    assert torch.equal(shots[0].offsets[0], model.shots(features, sizes)[1].offsets[0])  # the second adds to the first


def test_classification_does_not_reach_the_regression():
    """Property 2: its gradient goes into the features and into the taps, not through the deltas."""
    model = moved(build())
    losses, _ = model.train()(*testing.batch(2, 3, size=64))
    (losses["loss_cls1"] + losses["loss_cls2"]).backward()
    for step in model.steps:
        assert all(p.grad is None for p in step.regress.parameters())
        assert all(p.grad.abs().sum() > 0 for p in step.look[0].parameters())
    assert model.stem[0][0].weight.grad.abs().sum() > 0


def test_attention_against_the_formula():
    """x + gamma sum_j softmax_j(q_i . k_j) v_j over the cells inside; padding changes no cell inside."""
    layer, x = PositionAttention(8), torch.randn(2, 8, 3, 4)
    torch.nn.init.constant_(layer.gamma, 0.7)
    inside = torch.ones(2, 12, dtype=torch.bool)
    inside[1, [3, 7, 10, 11]] = False
    q, k, v = (f(x).flatten(2) for f in (layer.query, layer.key, layer.value))
    energy = (q.mT @ k).masked_fill(~inside.unsqueeze(1), -math.inf)
    want = x + 0.7 * (v @ energy.softmax(dim=2).mT).view_as(x)
    assert torch.allclose(layer(x, inside), want, atol=1e-5)
    other = torch.where(inside.view(2, 1, 3, 4), x, 9.0)
    same = torch.where(inside.view(2, 1, 3, 4), layer(other, inside), 0.0)
    assert torch.allclose(same, torch.where(inside.view(2, 1, 3, 4), want, 0.0), atol=1e-5)


def test_enhanced_levels_see_the_coarser_one_and_no_padding():
    """A picture of 20x36 pixels in a batch of 32x64: at stride 8 it has 3 of 4 rows and 5 of 8 columns of cells."""
    torch.manual_seed(0)
    pyramid, maps = EnhancedPyramid(8, (8, 16)).eval(), [torch.randn(1, 8, 4, 8), torch.randn(1, 8, 2, 4)]
    torch.nn.init.constant_(pyramid.levels[0].attention.gamma, 1.0)
    seen = []
    pyramid.levels[0].attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    fine, coarse = pyramid(maps, torch.tensor([[20, 36]]))
    assert seen[0].view(4, 8).tolist() == [[r < 3 and c < 5 for c in range(8)] for r in range(4)]
    assert fine.shape == maps[0].shape and coarse.shape == maps[1].shape
    other, _ = pyramid([maps[0], maps[1] + 1], torch.tensor([[20, 36]]))
    assert not torch.allclose(other, fine)


def test_batch_norm_of_a_single_value():
    layer = conv_norm(4, 4).train()
    assert torch.isfinite(layer(torch.randn(1, 4, 1, 1))).all() and (layer[1].running_var == 1).all()
    layer(torch.randn(2, 4, 1, 1))
    assert (layer[1].running_var != 1).any()
