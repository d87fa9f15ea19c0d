"""Adversarial spatial dropout: a second network hides the part of each object that the detector leans on.

Letters: N images, R regions of the batch, F regions attacked, C channels, S side of the pooled square, W windows.
"""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...structures import Matched, Picture
from ._adversary import Adversary, Phases, choose_foreground, mean_over, probability, spared, sureness
from ._mask_picture import draw_masks


class MaskNetwork(nn.Module):
    """Convolutions on pooled features: how much hiding each cell would hurt.

    Args:
        width: channels of the hidden convolutions, 256 in the paper's code on features of 512; None takes those of the
            features, at most 256. depth: how many there are.
    """

    layers: Any

    def __init__(self, width: int | None = 256, depth: int = 4):
        super().__init__()
        self.width, self.depth = width, depth

    def build(self, channels: int, prior: float) -> None:
        """channels: C. prior: share of cells that will be labeled 1, which the last bias starts from."""
        width, layers = self.width or min(256, channels), []
        for _ in range(self.depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        self.layers: Any = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))
        for layer in self.layers[::2]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # from 0, the first steps only push the logits down, most where features are strong: away from the object
        nn.init.constant_(self.layers[-1].bias, math.log(prior / (1 - prior)))

    def forward(self, features: Tensor) -> Tensor:
        """Map (F, C, S, S) -> logits (F, S * S), in float32."""
        return self.layers(features).flatten(1).float()


class AdversarialSpatialDropout(Adversary):
    """Zeroes the cells of foreground regions that a learned adversary expects to hurt most (ASDN of A-Fast-RCNN).

    Slot: region_features
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Wang, Shrivastava, Gupta, 2017, arXiv 1704.03414, section 4.1, with the numbers of the authors' code
        (xiaolonw/adversarial-frcnn)
    Neutral: dropped=0, which hides nothing
    Differs: one training in three phases, where the authors copy weights between three, or, with phases.detector=0 and
        a checkpoint, from their second one on; the network has an optimizer of its own, whose state begins anew in
        either phase, and a constant rate; its loss in the third phase is divided by the regions that are masked, with
        weight 1, where theirs is divided by all regions, with weight 0.0025, which under an optimizer that adapts its
        rate would let it learn nothing; the box regression keeps what
        it learned, where theirs starts anew; the adversary is a head on the detector's own features as in their code,
        not a network of its own as in the paper; Faster R-CNN in place of Fast R-CNN; the second phase sees the
        detector's own regions, not 64 with 0.75 of foreground, and weighs all cells alike, as their code does in effect
        (it means to drop gradients of unhidden cells, but throws the result away); images take turns at staying
        unmasked over the batch; biases have the optimizer's rate and decay, and the last one starts from the share of
        hidden cells, not from 0; the box head has no dropout, where theirs drops half of its values, in the passes
        that compare masked and unmasked regions too

    With a(x) the network's logits on pooled features x, p(x) the detector's probability of the true class:

        second phase:  t = the window whose hiding makes p smallest;  L = mean BCE(a(x), t)
        third phase:   t = 15 of the 20 cells of the highest a(x), at random;  x' = x where t = 0, else 0
                       L = weight / (M S^2) * sum BCE(a(x), t)  over masked regions with p(x') + margin < p(x)

    M is the number of masked foreground regions. Gradients of L reach the network only. Nothing is hidden at test, and
    of background only with background=True: as published, hidden cells tell the detector that a region is foreground.

    Args:
        network: gives the logits; None hides `dropped` of all cells at random and learns nothing: the control.
        phases: when what learns; None begins with the third phase.
        dropped: cells hidden of a region, 15 of 49. candidates: the cells of the highest logits, 20, that they are
            drawn from.
        unmasked_every: one image of so many stays as it is, 2: every other; 0 masks all.
        margin: by how much hiding must lower the probability for the network to learn from it, 0.1.
        weight: of the network's loss in the third phase; 0 leaves the network as the second phase made it.
        window, stride: of the windows tried in the second phase, in cells.
        per_image: the most foreground regions of an image that are masked; further ones stay as they are.
        searched: the most of an image that windows are tried on; memory for W times as many features is taken.
        background: whether cells of all regions of an image are hidden, background too, without a limit by per_image.

    Example:
        >>> import torch
        >>> from imbdet.remedies.class_fg_bg.adversarial_spatial_dropout import hidden_cells
        >>> hidden_cells(torch.arange(49.0).unsqueeze(0), dropped=2, candidates=2).nonzero().tolist()
        [[0, 47], [0, 48]]
    """

    windows: Tensor

    name = "dropout"

    def __init__(
        self,
        network: MaskNetwork | None = None,
        phases: Phases | None = None,
        dropped: int = 15,
        candidates: int = 20,
        unmasked_every: int = 2,
        margin: float = 0.1,
        weight: float = 1.0,
        window: int = 2,
        stride: int = 2,
        per_image: int = 128,
        searched: int = 48,
        background: bool = False,
    ):
        super().__init__(network, phases, per_image, dropped == 0, spared("unmasked_every", unmasked_every))
        if not 0 <= dropped <= candidates:
            raise ValueError(f"need 0 <= dropped <= candidates, got dropped {dropped}, candidates {candidates}")
        if min(window, stride, searched) < 1:
            raise ValueError(f"window, stride and searched must be at least 1, got {window}, {stride} and {searched}")
        self.dropped, self.candidates = dropped, candidates
        self.margin, self.weight, self.background = margin, weight, background
        self.window, self.stride = window, stride
        self.searched = min(searched, per_image)

    def build(self, channels: int, size: int) -> None:
        """Make the layers; channels C and side S of what will come."""
        if self.candidates > size * size:
            raise ValueError(f"candidates is {self.candidates}, but a region has {size * size} cells")
        if self.window >= size:
            raise ValueError(f"a window of {self.window} cells leaves nothing of a region of {size}")
        if self.network is not None:
            self.network.build(channels, prior=self.window**2 / size**2)
        self.register_buffer("windows", window_masks(size, self.window, self.stride), persistent=False)

    def attack(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        return self.search(features, matched, head) if self.alone else self.hide(features, matched, head)

    def search(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """Run the second phase: try all windows, and learn the worst. The features stay as they are."""
        index, kept = choose_foreground(matched, self.searched)
        x, labels = features[index].detach(), matched.labels[index]
        target, before, after = worst_window(x, labels, self.windows, head)
        cells = self.network(x)
        loss = F.binary_cross_entropy_with_logits(cells, target, reduction="none").mean(dim=1)
        loss = (loss * kept).sum() / kept.sum().clamp(min=1)
        self.pending = lambda logits, matched: (loss, {})
        likely = torch.zeros_like(target).scatter(1, cells.topk(self.candidates, dim=1).indices, 1.0)
        found = (likely * target).sum(dim=1) / target.sum(dim=1)
        return features, {
            "dropout/before": mean_over(before, kept),
            "dropout/after": mean_over(after, kept),
            "dropout/found": mean_over(found, kept),  # by chance candidates / S^2
            "dropout/masks": Picture(lambda: draw_masks(x, target, kept)),
        }

    def hide(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """Run the third phase, or the control without a network."""
        if self.background:
            index, kept = torch.arange(len(matched.labels), device=matched.labels.device), matched.considered
        else:
            index, kept = choose_foreground(matched, self.per_image)
        masked = kept & self.takes_part(matched.images[index])
        x = features[index]
        if self.network is None:
            cells, candidates = x.new_zeros(len(x), x[0, 0].numel(), dtype=torch.float32), None
        else:
            cells, candidates = self.network(x.detach()), self.candidates
        target = hidden_cells(cells.detach(), self.dropped, candidates)
        visible = 1 - target * masked.unsqueeze(1)
        changed = x * visible.view(-1, 1, *x.shape[2:]).to(x.dtype)
        if self.network is None:
            self.pending = partial(self.look, head, index, masked)
        else:
            before = sureness(x, matched.labels[index], head)
            self.pending = partial(self.imitate, head, index, masked, before, cells, target)
        seen = x.detach()
        picture = Picture(lambda: draw_masks(seen, 1 - visible, kept))
        return features.index_copy(0, index, changed), {"dropout/masks": picture}

    def imitate(self, head, index, masked, before, cells, target, logits, matched) -> tuple[Tensor, dict]:
        """Learn the masks that hurt.

        Args:
            index: (F,) into the R regions. masked: (F,) bool. before: (F,) probability of the true class without the
                mask. cells: (F, S * S) the network's logits. target: (F, S * S), 1 where hidden. logits: (R, C).
        """
        after = probability(head.scores(logits[index]), matched.labels[index])
        masked = masked & matched.foreground[index]
        harmful = masked & (after + self.margin < before)
        cells = cells if self.weight else cells.detach()  # not even weight decay moves what has no gradient
        loss = F.binary_cross_entropy_with_logits(cells, target, reduction="none").sum(dim=1)
        loss = (loss * harmful).sum() * (self.weight / target.shape[1]) / masked.sum().clamp(min=1)
        stats = {"before": before, "after": after, "harmful": harmful.float()}
        return loss, {f"dropout/{name}": mean_over(value, masked) for name, value in stats.items()}

    def look(self, head, index, masked, logits, matched) -> tuple[None, dict]:
        """Do what `imitate` does, for the control, which learns nothing."""
        after = probability(head.scores(logits[index]), matched.labels[index])
        return None, {"dropout/after": mean_over(after, masked & matched.foreground[index])}


def window_masks(size: int, window: int, stride: int) -> Tensor:
    """Return (W, size * size), 1 inside of each window. The last of a row or column is moved back until it fits.

    7 cells, window 2, stride 2: starts 0, 2, 4, 5 on either axis, 16 windows.
    """
    starts = torch.arange(-(-size // stride)) * stride
    starts = starts.clamp(max=size - window).unique()
    cell = torch.arange(size)
    inside = (cell >= starts.unsqueeze(1)) & (cell < starts.unsqueeze(1) + window)  # (starts, size)
    return (inside[:, None, :, None] & inside[None, :, None, :]).reshape(len(starts) ** 2, size * size).float()


def worst_window(x: Tensor, labels: Tensor, windows: Tensor, head) -> tuple[Tensor, Tensor, Tensor]:
    """Return the window of each region that hurts most when hidden.

    Args:
        x: (F, C, S, S). labels: (F,). windows: (W, S * S), 1 inside.

    Returns:
        that window (F, S * S), and the probability of the true class without and with it (F,), (F,).
    """
    w, f, s = len(windows), len(x), x.shape[-1]
    hidden = x.unsqueeze(0) * (1 - windows).view(w, 1, 1, s, s).to(x.dtype)
    after = sureness(hidden.flatten(0, 1), labels.repeat(w), head).view(w, f)
    lowest, index = after.min(dim=0)
    return windows[index], sureness(x, labels, head), lowest


def hidden_cells(cells: Tensor, dropped: int, candidates: int | None) -> Tensor:
    """Map logits (F, cells) -> (F, cells), 1 on `dropped` cells at random of the `candidates` highest; None: of all."""
    chance = torch.rand_like(cells)
    if candidates is not None:
        top = cells.topk(candidates, dim=1).indices
        chance = torch.full_like(chance, -1.0).scatter(1, top, chance.gather(1, top))
    return torch.zeros_like(cells).scatter(1, chance.topk(dropped, dim=1).indices, 1.0)
