"""What the adversaries of A-Fast-RCNN share: phases of a training, which regions they attack, how sure the detector is.

Letters: N images, R regions of the batch, F regions attacked (N times a number known to the host), K classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ...slots import Phased, RegionFeatures
from ...structures import Matched


class Phases(nn.Module):
    """Three phases of one training: the detector alone, the adversary alone, both.

    Time is the detector's: steps of the second phase come between two of its updates and are no iterations of the
    training. The counts of batches are python numbers, and the state dict holds those numbers: there is no copy of them
    on the device that could differ, nobody waits to read them, and a resumed training goes on in the middle of a phase.
    Only `begin_batch` moves them, which is called for batches that are learned from and not for validation losses;
    averaged weights do not contain them.

    Args:
        detector: how long the detector learns alone. Below 1 a share of `total`, from 1 on iterations; 0 for a detector
            that was trained before.
        adversary: how many steps the adversary learns alone after that, while the detector rests; a share or steps.
        total: iterations of the whole training, for shares.
        accumulate: batches of one iteration.
    """

    def __init__(self, detector: float = 0, adversary: float = 0, total: int = 0, accumulate: int = 1):
        super().__init__()
        if min(detector, adversary) < 0 or accumulate < 1:
            raise ValueError(
                f"need detector >= 0, adversary >= 0 and accumulate >= 1, got {detector}, {adversary}, {accumulate}"
            )
        self.detector, self.adversary = (length(part, total) for part in (detector, adversary))
        self.accumulate = accumulate
        self.learned, self.rested = 0, 0  # batches begun so far, of the detector's updates and of its rest
        self.alone = False  #: the batch that began last is of the second phase: only the adversary learns

    @property
    def batches(self) -> int:
        """All that have begun."""
        return self.learned + self.rested

    @property
    def rests(self) -> bool:
        """Whether the detector rests in the batch that comes next."""
        return self.learned // self.accumulate >= self.detector and self.rested // self.accumulate < self.adversary

    def begin_batch(self) -> None:
        """Note that a batch begins that is learned from."""
        self.alone = self.rests
        if self.alone:
            self.rested += 1
        else:
            self.learned += 1

    @property
    def begun(self) -> bool:
        """The adversary is there: the second or third phase."""
        return self.alone or max(0, self.learned - 1) // self.accumulate >= self.detector

    def describe(self) -> str:
        """Return the lengths, for the log."""
        return (
            f"the detector learns alone for {self.detector} iterations, rests for {self.adversary} steps more in which "
            "the adversary learns alone, then both learn"
        )

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.learned, self.rested, int(self.alone)])

    def set_extra_state(self, state: Tensor) -> None:
        self.learned, self.rested, alone = state.tolist()
        self.alone = bool(alone)


class Adversary(nn.Module, RegionFeatures, Phased):
    """A filler of the region_features slot that attacks foreground regions; a remedy implements `attack`.

    Args:
        network: what learns; None draws its choices at random, without a loss: the control. It goes through the same
            phases, so the detector rests as long and sees the same batches.
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
        self.network: Any = network  # a remedy's own
        self.phases = Phases() if phases is None or neutral else phases
        self.per_image = per_image
        self.neutral = neutral
        self.spared_every = spared_every
        self.pending: Callable | None = None  # from `forward` to `settle`

    @property
    def alone(self) -> bool:
        """The second phase: the network learns and the detector rests."""
        return self.phases.alone

    @property
    def rests(self) -> bool:
        """Whether the detector rests in the training step that comes next."""
        return self.phases.rests

    def begin_step(self) -> bool:
        """Return whether the detector learns in the training step that begins."""
        self.phases.begin_batch()
        return not self.alone

    def takes_part(self, images: Tensor) -> Tensor:
        """Map image of each region (F,) -> whether it is attacked in this batch; the spared ones move on every batch.

        Attacked features are foreground. Were there no foreground without the attack, the detector could learn to tell
        foreground by the attack, and would find none at test.
        """
        if not self.spared_every:
            return torch.ones_like(images, dtype=torch.bool)
        return (images + self.phases.batches) % self.spared_every != 0

    def forward(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """Map (R, C, S, S) -> (R, C, S, S), stats."""
        self.pending = None
        if self.neutral or not self.phases.begun or (self.alone and self.network is None):
            return features, {}
        return self.attack(features, matched, head)

    def attack(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """Attack as `forward` says; leave in `self.pending` a call logits (R, C), matched -> loss or None, stats."""
        raise NotImplementedError

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        """Map the head's losses and its logits (R, C) -> the losses with the network's own, stats."""
        pending, self.pending = self.pending, None
        loss, stats = pending(logits.detach(), matched) if pending else (None, {})
        if self.network is None:
            return losses, stats
        if loss is None:  # the first phase: losses keep their names over a training
            loss = logits.new_zeros((), dtype=torch.float32)
        return {**losses, f"loss_{self.name}": loss}, stats


def spared(name: str, every: int) -> int:
    """Return `every`, the setting `name` of a remedy: one image of so many is spared, 0 none."""
    if every < 0 or every == 1:
        raise ValueError(f"{name} is {every}; 2 leaves every other image, 0 none")
    return every


def length(part: float, total: int) -> int:
    """Return a share (below 1) of `total`, or iterations (from 1 on), as iterations.

    Raises:
        ValueError: a share of an unknown total.
    """
    if 0 < part < 1 and total < 1:
        raise ValueError(f"a phase of {part} is a share of the training, so `total` is needed, in iterations")
    return round(part * total) if part < 1 else round(part)


def choose_foreground(matched: Matched, per_image: int) -> tuple[Tensor, Tensor]:
    """Return foreground regions, at random where an image has more than `per_image`.

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
    """Map scores (F, K), labels (F,) -> the score of the region's own class (F,); of any where it has none."""
    own = labels.clamp(min=0, max=scores.shape[1] - 1)
    return scores.gather(1, own.unsqueeze(1)).squeeze(1)


def sureness(features: Tensor, labels: Tensor, head) -> Tensor:
    """Map features (F, C, S, S) of regions with labels (F,) -> probability of the true class (F,), without gradient.

    Gradients are recorded and dropped rather than switched off: under autocast, older versions of torch remember
    weights that were cast without gradient and use them again in the pass that learns.
    """
    logits, _ = head(features.detach())
    return probability(head.scores(logits), labels).detach()


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` (F,) where `mask` (F,) holds; 0 where it never does. Detached."""
    return (values.detach() * mask).sum() / mask.sum().clamp(min=1)
