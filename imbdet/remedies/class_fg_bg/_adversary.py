"""What the adversaries of A-Fast-RCNN share: phases of a training, which regions they attack, how sure the detector is.

Letters: N images, R regions of the batch, F regions attacked (N times a number known to the host), K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...structures import Matched


class Phases(nn.Module):
    """Three phases of one training: the detector alone, the adversary alone, both.

    The count of batches is a python number, and the state dict holds that number: there is no copy of it on the device
    that could differ, nobody waits to read it, and a resumed training goes on in the middle of a phase. Only
    `begin_step` moves it, which is called for batches that are learned from and not for validation losses; averaged
    weights do not contain it.

    Args:
        detector: how long the detector learns alone. adversary: how long the adversary does, after that. Below 1 a
            share of `total`, from 1 on iterations.
        total: iterations of the whole training, for shares.
        accumulate: batches of one iteration.
    """

    def __init__(self, detector: float = 0, adversary: float = 0, total: int = 0, accumulate: int = 1):
        super().__init__()
        if min(detector, adversary) < 0 or accumulate < 1:
            raise ValueError(
                f"need detector >= 0, adversary >= 0 and accumulate >= 1, got {detector}, {adversary}, {accumulate}"
            )
        if max(detector, adversary) < 1 < detector + adversary:
            raise ValueError(f"the shares {detector} and {adversary} of the training are more than all of it")
        self.detector, self.adversary = (length(part, total) for part in (detector, adversary))
        self.accumulate = accumulate
        self.batches = 0  # begun so far

    def begin_batch(self) -> None:
        """A batch that is learned from begins."""
        self.batches += 1

    @property
    def iteration(self) -> int:
        """Of the batch that began last, from 0."""
        return max(0, self.batches - 1) // self.accumulate

    @property
    def begun(self) -> bool:
        """The adversary is there: the second or third phase."""
        return self.iteration >= self.detector

    @property
    def alone(self) -> bool:
        """Only the adversary learns: the second phase."""
        return self.begun and self.iteration < self.detector + self.adversary

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.batches)

    def set_extra_state(self, state: Tensor) -> None:
        self.batches = int(state)


class Adversary(nn.Module):
    """A filler of the region_features slot that attacks foreground regions; a remedy implements `attack`.

    Args:
        network: what learns; None draws its choices at random, without a second phase and without a loss: the control.
        phases: when what learns; None begins with the third phase.
        per_image: the most foreground regions of an image that are attacked; further ones stay as they are.
        neutral: it changes nothing, ever.
        spared_every: one image of so many stays as it is while the detector learns, 2: every other; 0 attacks all.
    """

    name = ""  #: of its loss and its stats

    def __init__(
        self, network: nn.Module | None, phases: Phases | None, per_image: int, neutral: bool, spared_every: int
    ):
        super().__init__()
        if per_image < 1:
            raise ValueError(f"per_image must be at least 1, got {per_image}")
        self.network = network
        self.phases = phases or Phases()
        self.per_image = per_image
        self.neutral = neutral
        self.spared_every = spared_every
        self.pending: Callable | None = None  # from `forward` to `settle`

    @property
    def alone(self) -> bool:
        """The second phase: the network learns and the detector rests."""
        return self.phases.alone and self.network is not None and not self.neutral

    def begin_step(self) -> bool:
        """Whether the detector learns in the training step that begins."""
        self.phases.begin_batch()
        return not self.alone

    def takes_part(self, images: Tensor) -> Tensor:
        """Image of each region (F,) -> whether it is attacked in this batch; the spared ones move on every batch.

        Attacked features are foreground. Were there no foreground without the attack, the detector could learn to tell
        foreground by the attack, and would find none at test.
        """
        if not self.spared_every:
            return torch.ones_like(images, dtype=torch.bool)
        return (images + self.phases.batches) % self.spared_every != 0

    def forward(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """(R, C, S, S) -> (R, C, S, S), stats."""
        self.pending = None
        if self.neutral or not self.phases.begun:
            return features, {}
        return self.attack(features, matched, head)

    def attack(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """As `forward`; leaves in `self.pending` a call logits (R, C), matched -> loss or None, stats."""
        raise NotImplementedError

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        """The head's losses and its logits (R, C) -> the losses with the network's own, stats."""
        pending, self.pending = self.pending, None
        loss, stats = pending(logits.detach(), matched) if pending else (None, {})
        if self.network is None:
            return losses, stats
        if loss is None:  # the first phase: losses keep their names over a training
            loss = logits.new_zeros((), dtype=torch.float32)
        return {**losses, f"loss_{self.name}": loss}, stats


def spared(name: str, every: int) -> int:
    """`every`, the setting `name` of a remedy: one image of so many is spared, 0 none."""
    if every < 0 or every == 1:
        raise ValueError(f"{name} is {every}; 2 leaves every other image, 0 none")
    return every


def length(part: float, total: int) -> int:
    """A share (below 1) of `total`, or iterations (from 1 on), as iterations.

    Raises:
        ValueError: a share of an unknown total.
    """
    if 0 < part < 1 and total < 1:
        raise ValueError(f"a phase of {part} is a share of the training, so `total` is needed, in iterations")
    return round(part * total) if part < 1 else round(part)


def lengthened(iterations: int, *shares: float) -> int:
    """The length of a training in which `iterations` are left beside the phases of these shares."""
    return round(iterations / (1 - sum(shares)))


def choose_foreground(matched: Matched, per_image: int) -> tuple[Tensor, Tensor]:
    """Foreground regions, at random where an image has more than `per_image`.

    Returns:
        index (F,) into the R regions without repeats, F = N * min(per_image, R / N); kept (F,) bool, False where an
        image has fewer and the place is filled with another region.
    """
    foreground = matched.foreground.view(matched.num_images, -1)
    size = foreground.shape[1]
    priority = torch.where(foreground, torch.rand(foreground.shape, device=foreground.device), -1.0)
    value, index = priority.topk(min(per_image, size), dim=1)
    index = index + torch.arange(len(index), device=index.device).unsqueeze(1) * size
    return index.view(-1), value.view(-1) >= 0


def probability(scores: Tensor, labels: Tensor) -> Tensor:
    """scores (F, K), labels (F,) -> the score of the region's own class (F,); of any where it has none."""
    own = labels.clamp(min=0, max=scores.shape[1] - 1)
    return scores.gather(1, own.unsqueeze(1)).squeeze(1)


def sureness(features: Tensor, labels: Tensor, head) -> Tensor:
    """Features (F, C, S, S) of regions with labels (F,) -> probability of the true class (F,), without gradient.

    Gradients are recorded and dropped rather than switched off: under autocast, older versions of torch remember
    weights that were cast without gradient and use them again in the pass that learns.
    """
    logits, _ = head(features.detach())
    return probability(head.scores(logits), labels).detach()


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (F,) where `mask` (F,) holds; 0 where it never does. Detached."""
    return (values.detach() * mask).sum() / mask.sum().clamp(min=1)
