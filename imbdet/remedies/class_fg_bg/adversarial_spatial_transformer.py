"""Adversarial spatial transformer: a second network turns the features of each object so that the detector errs.

Letters: R regions of the batch, F regions attacked, C channels, B blocks of channels, S side of the pooled square.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...structures import Matched
from ._adversary import Phases, choose_foreground, mean_over, probability, sureness


class LocalisationNetwork(nn.Module):
    """Three fully connected layers from pooled features to angles; the last starts at zero, so nothing turns at first.

    Args:
        widths: of the two hidden layers; the paper has those of the detector's head.
    """

    def __init__(self, widths=(1024, 1024)):
        super().__init__()
        self.widths = tuple(widths)

    def build(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for width in self.widths:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))
        for layer in self.layers[:-1:2]:
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, features: Tensor) -> Tensor:
        """(F, C, S, S) -> (F, outputs), in float32."""
        return self.layers(features.flatten(1)).float()


class AdversarialSpatialTransformer(nn.Module):
    """Turns the features of foreground regions by angles that a learned adversary chooses (ASTN of A-Fast-RCNN).

    Slot: region_features
    Imbalance: class_fg_bg
    Source: Wang, Shrivastava, Gupta, 2017, arXiv 1704.03414, section 4.2; no code of it was ever released
    Neutral: max_angle=0, which turns nothing
    Differs: the network starts from random weights, not from those of a classifier's layers, which a pyramid does not
        have; it learns through a reversed gradient in the same optimizer, so it works against the whole loss of the
        region, box regression included, where the paper names the classification; one training in three phases

    For each block b of C / B channels, with f the network, x the pooled features and G_a x the bilinear sampling of x
    at positions turned by a about the region's middle:

        angle_b = max_angle * tanh(f(x)_b),    x'_b = G_angle_b x_b

    The detector descends its loss on x', the network climbs it (Ganin and Lempitsky, 2015, arXiv 1409.7495: the
    gradient changes its sign on the way back). The gradient to the backbone runs through the sampling, not through f.
    Background stays as it is, and so does everything at test.

    Args:
        network: gives f; None draws every angle evenly from +-max_angle: the control.
        phases: when what learns; None begins with the third phase.
        max_angle: degrees, 10. blocks: of channels, each with an angle of its own, 4.
        strength: factor of the reversed gradient.
        per_image: the most foreground regions of an image that are turned; further ones stay as they are.

    Example:
        >>> import math, torch
        >>> from imbdet.remedies.class_fg_bg.adversarial_spatial_transformer import turn
        >>> x = torch.zeros(1, 4, 3, 3)
        >>> x[:, :, 0, 1] = 1.0  # above the middle; a quarter turn takes it to one side
        >>> turn(x, torch.full((1, 1), math.pi / 2))[0, 0].round().nonzero().tolist()
        [[1, 0]]
    """

    def __init__(
        self,
        network: LocalisationNetwork | None = None,
        phases: Phases | None = None,
        max_angle: float = 10.0,
        blocks: int = 4,
        strength: float = 1.0,
        per_image: int = 128,
    ):
        super().__init__()
        if not 0 <= max_angle <= 180 or blocks < 1 or strength < 0 or per_image < 1:
            raise ValueError(
                "need max_angle in 0..180 degrees, blocks >= 1, strength >= 0 and per_image >= 1, got"
                f" {max_angle}, {blocks}, {strength} and {per_image}"
            )
        self.network = network
        self.phases = phases or Phases()
        self.max_angle, self.blocks, self.strength, self.per_image = max_angle, blocks, strength, per_image
        self.pending = None  # from `forward` to `settle`: head, index, kept, probabilities before

    def build(self, channels: int, size: int) -> None:
        """Make the layers; channels C and side S of what will come."""
        if channels % self.blocks:
            raise ValueError(f"{channels} channels cannot be cut into {self.blocks} equal blocks")
        if self.network is not None:
            self.network.build(channels * size * size, self.blocks)

    def begin_step(self) -> bool:
        """See RegionFeatures."""
        self.phases.begin_batch()
        return not (self.phases.alone and self.network is not None and self.max_angle > 0)

    def forward(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """(R, C, S, S) -> (R, C, S, S), stats."""
        self.pending = None
        if not self.phases.begun or not self.max_angle:
            return features, {}
        index, kept = choose_foreground(matched, self.per_image)
        x = features[index]
        angles = self.angles(x.detach())
        turned = torch.where(kept.view(-1, 1, 1, 1), turn(x, angles), x)
        before = sureness(x, matched.labels[index], head)
        self.pending = (head, index, kept, before)
        degrees = angles.detach().abs().mean(dim=1) * (180 / math.pi)
        return features.index_copy(0, index, turned), {"transformer/angle": mean_over(degrees, kept)}

    def angles(self, x: Tensor) -> Tensor:
        """Features (F, C, S, S) -> radians (F, B)."""
        limit = math.radians(self.max_angle)
        if self.network is None:
            return (2 * torch.rand(len(x), self.blocks, device=x.device) - 1) * limit
        return limit * torch.tanh(Reversed.apply(self.network(x), self.strength))

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        """The losses as they are, and how sure the detector is of the turned regions."""
        pending, self.pending = self.pending, None
        if pending is None:
            return losses, {}
        head, index, kept, before = pending
        after = probability(head.scores(logits.detach()[index]), matched.labels[index])
        return losses, {"transformer/before": mean_over(before, kept), "transformer/after": mean_over(after, kept)}


class Reversed(torch.autograd.Function):
    """The identity, whose gradient comes back with the factor -strength."""

    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def turn(x: Tensor, angles: Tensor) -> Tensor:
    """x (F, C, S, S), angles (F, B) in radians -> (F, C, S, S): block b of C / B channels turned by angle b.

    Sampled between the centres of the cells (align_corners=False: the region's edge is that of its outer cells), with
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
    return turned.view(f, c, s, s).to(x.dtype)
