"""Adversarial spatial transformer: a second network turns the features of each object so that the detector errs.

Letters: R regions of the batch, F regions attacked, C channels, B blocks of channels, S side of the pooled square.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...structures import Matched
from ._adversary import Adversary, Phases, choose_foreground, mean_over, probability, spared, sureness


class LocalizationNetwork(nn.Module):
    """Three fully connected layers from pooled features to angles; the last starts at zero, so nothing turns at first.

    Args:
        widths: of the two hidden layers; the paper has those of the detector's head.
    """

    layers: Any

    def __init__(self, widths=(1024, 1024)):
        super().__init__()
        self.widths = tuple(widths)

    def build(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for width in self.widths:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
            inputs = width
        self.layers: Any = nn.Sequential(*layers, nn.Linear(inputs, outputs))
        for layer in self.layers[:-1:2]:
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map (F, C, S, S) -> (F, outputs), in float32."""
        return self.layers(features.flatten(1)).float()


class AdversarialSpatialTransformer(Adversary):
    """Turns the features of foreground regions by angles that a learned adversary chooses (ASTN of A-Fast-RCNN).

    Slot: region_features
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Wang, Shrivastava, Gupta, 2017, arXiv 1704.03414, section 4.2; no code of it was ever released
    Neutral: max_angle=0, which turns nothing
    Differs: the network starts from random weights, not from those of a classifier's layers, which a pyramid does not
        have; it learns in an optimizer of its own, whose state begins anew in either phase, at a constant rate, from a
        loss of its own through the fixed head, with a penalty; images
        take turns at staying as they are, as in the authors' code of the dropout; one training in three phases; Faster
        R-CNN in place of Fast R-CNN

    For each block b of C / B channels, with f the network, x the pooled features, p the detector's probability of the
    true class, and G_a x the bilinear sampling of x at positions turned by a about the region's middle:

        angle_b = max_angle * tanh(f(x)_b),    x'_b = G_angle_b x_b,    L = -mean log p(x')  over foreground

    The detector descends its losses on x'. The network climbs L - penalty * mean f(x)^2, and only it: the gradient of L
    runs through the detector's head, whose weights are constants for it, and the sampling, and changes its sign there
    (as Ganin and Lempitsky, 2015, arXiv 1409.7495). The detector's own gradient to the backbone runs through the
    sampling, not through f. To reverse that gradient for the network instead, without a second pass of the head, was
    tried and left: it climbs the box regression too, and within 20 steps of the detector's rate every region was turned
    by the same 10 degrees, where tanh has no gradient left.

    Without the penalty that may still happen. Without images that stay as they are, the detector may then learn that
    what is turned is foreground, and find nothing at test: one training of three did. At angles of exactly 0 the
    sampling has a kink, so the very first step may go either way. Background stays as it is, and so does everything at
    test.

    Args:
        network: gives f; None draws every angle evenly from +-max_angle: the control.
        phases: when what learns; None begins with the third phase.
        max_angle: degrees, 10. blocks: of channels, each with an angle of its own, 4.
        weight: factor of L and its penalty.
        per_image: the most foreground regions of an image that are turned; further ones stay as they are.
        penalty: of the mean square of f, which keeps it from where tanh is flat.
        unturned_every: in the third phase one image of so many stays as it is, 2: every other; 0 turns all.

    Example:
        >>> import math, torch
        >>> from imbdet.remedies.class_fg_bg.adversarial_spatial_transformer import turn
        >>> x = torch.zeros(1, 4, 3, 3)
        >>> x[:, :, 0, 1] = 1.0  # above the middle; a quarter turn takes it to one side
        >>> turn(x, torch.full((1, 1), math.pi / 2))[0, 0].round().nonzero().tolist()
        [[1, 0]]
    """

    name = "transformer"

    def __init__(
        self,
        network: LocalizationNetwork | None = None,
        phases: Phases | None = None,
        max_angle: float = 10.0,
        blocks: int = 4,
        weight: float = 1.0,
        per_image: int = 128,
        penalty: float = 0.01,
        unturned_every: int = 2,
    ):
        super().__init__(network, phases, per_image, max_angle == 0, spared("unturned_every", unturned_every))
        if not 0 <= max_angle <= 180 or blocks < 1 or min(weight, penalty) < 0:
            raise ValueError(
                "need max_angle in 0..180 degrees, blocks >= 1, weight >= 0 and penalty >= 0, "
                f"got {max_angle}, {blocks}, {weight}, {penalty}"
            )
        self.max_angle, self.blocks, self.weight, self.penalty = max_angle, blocks, weight, penalty

    def build(self, channels: int, size: int) -> None:
        """Make the layers; channels C and side S of what will come."""
        if channels % self.blocks:
            raise ValueError(f"{channels} channels cannot be cut into {self.blocks} equal blocks")
        if self.network is not None:
            self.network.build(channels * size * size, self.blocks)

    def attack(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        index, kept = choose_foreground(matched, self.per_image)
        x, labels = features[index], matched.labels[index]
        values = None if self.network is None else self.network(x.detach())
        angles = self.angles(x, values)
        loss = None if values is None else self.loss(x.detach(), labels, kept, values, angles, head)
        moved = kept if self.alone else kept & self.takes_part(matched.images[index])
        turned = torch.where(moved.view(-1, 1, 1, 1), turn(x, angles.detach()), x)
        self.pending = partial(self.compare, head, index, moved, sureness(x, labels, head), loss)
        degrees = angles.detach().abs().mean(dim=1) * (180 / math.pi)
        return features.index_copy(0, index, turned), {"transformer/angle": mean_over(degrees, kept)}

    def angles(self, x: Tensor, values: Tensor | None) -> Tensor:
        """Return radians (F, B) for features x (F, C, S, S), by f (F, B); of the control, which has none, at random."""
        share = 2 * torch.rand(len(x), self.blocks, device=x.device) - 1 if values is None else torch.tanh(values)
        return math.radians(self.max_angle) * share

    def loss(self, x: Tensor, labels: Tensor, kept: Tensor, values: Tensor, angles: Tensor, head) -> Tensor:
        """Return cross entropy of the turned regions x (F, C, S, S), whose gradient makes the network climb it, +
        penalty.
        """
        logits, _ = head.fixed(turn(x, Reversed.apply(angles)))
        own = probability(head.scores(logits), labels)
        entropy = -own.clamp(min=1e-12).log()  # finite where the detector is certain of another class
        loss = entropy + self.penalty * values.square().mean(dim=1)
        return self.weight * (loss * kept).sum() / kept.sum().clamp(min=1)

    def compare(self, head, index, moved, before, loss, logits, matched) -> tuple[Tensor | None, dict]:
        """Return the loss, and how sure the detector was before and is after; logits (R, C) of the turned regions."""
        after = probability(head.scores(logits[index]), matched.labels[index])
        return loss, {"transformer/before": mean_over(before, moved), "transformer/after": mean_over(after, moved)}


class Reversed(torch.autograd.Function):
    """The identity, whose gradient comes back with its sign changed."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """Map x (F, C, S, S), angles (F, B) in radians -> (F, C, S, S): block b of C / B channels turned by angle b.

    Sampled between the centers of the cells (align_corners=False: the region's edge is that of its outer cells), with
    zeros outside, in float32 whatever the precision of x.
    """
    f, c, s, _ = x.shape
    b = angles.shape[1]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    matrix = torch.stack((cos, -sin, zero, sin, cos, zero), dim=-1).view(f * b, 2, 3)
    with torch.autocast(x.device.type, enabled=False):
        grid = F.affine_grid(matrix, [f * b, c // b, s, s], align_corners=False)
        blocks = x.reshape(f * b, c // b, s, s).float()
        turned = F.grid_sample(blocks, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return turned.reshape(f, c, s, s).to(x.dtype)
