"""What fills each slot where no remedy does: the baselines of every comparison, and the helpers that others build on.

In the order of the data flow: matcher, region_sampler, region_features, classification, regression, normalizer,
objective. The classifier of an RoI head is in `heads.py`, with the layers. Nothing here waits for the device: chosen
regions are the top-k of random priorities, never gathered by a mask.

Letters: N images, M objects of the fullest image, A regions of one image, R = N*A regions of the batch, K classes, C
logits a region, S side of the pooled square.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..slots import (
    Classification,
    Matcher,
    Normalizer,
    Objective,
    RegionFeatures,
    RegionSampler,
    Regression,
)
from ..structures import Matched
from .running_state import RunningState


class ThresholdMatcher(Matcher):
    """Slot `matcher`: foreground from IoU `foreground` on, background below `background`, ignored between.

    Args:
        foreground, background: IoU in 0..1; background <= foreground.
        best_for_each_object: the regions with the highest IoU of each object become foreground whatever that IoU is
            (ties included), as Faster R-CNN's RPN does ("low quality matches"). They keep the object that they overlap
            most.
            Differs from detectron2: an object that no region touches takes no region at all, where detectron2 takes
            all.
    """

    def __init__(self, foreground: float = 0.5, background: float = 0.5, best_for_each_object: bool = False):
        if not 0 <= background <= foreground <= 1:
            raise ValueError(
                f"need 0 <= background <= foreground <= 1, got background {background}, foreground {foreground}"
            )
        self.foreground = foreground
        self.background = background
        self.best_for_each_object = best_for_each_object

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """iou (N, M, A), 0 for padded objects; valid (N, M) -> object (N, A), IoU (N, A), kind (N, A): 1, 0 or -1."""
        best, index = iou.max(dim=1)
        kind = (best >= self.foreground).to(torch.int8) - ((best >= self.background) & (best < self.foreground)).to(
            torch.int8
        )
        if self.best_for_each_object:
            highest = iou.amax(dim=2, keepdim=True)
            kind = torch.where(((iou == highest) & (highest > 0)).any(dim=1), 1, kind)
        return index, best, kind


def claim(priority: Tensor, claimed: Tensor, iou: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give each region that objects claim to the object of the highest priority.

    Args:
        priority: (N, M, A) finite. claimed: (N, M, A) bool. iou: (N, M, A).

    Returns:
        object index (N, A), IoU with it (N, A) and kind (N, A), 1 or 0, as of a matcher. A region that nobody claims
        has the object that it overlaps most.
    """
    lowest = torch.finfo(priority.dtype).min
    best, index = torch.where(claimed, priority, lowest).max(dim=1)
    taken = best > lowest
    index = torch.where(taken, index, iou.argmax(dim=1))
    return index, iou.gather(1, index.unsqueeze(1)).squeeze(1), taken.to(torch.int8)


def top(priority: Tensor, count: int) -> Tensor:
    """(N, M, A) -> bool of the same shape: the `count` regions of highest priority of each object (all if fewer)."""
    index = priority.topk(min(count, priority.shape[2]), dim=2).indices
    return torch.zeros_like(priority, dtype=torch.bool).scatter(2, index, True)


class AllRegions(RegionSampler):
    """Slot `region_sampler`: every region that is not ignored (RetinaNet)."""

    per_image = None

    def __call__(self, matched: Matched) -> tuple[Tensor, dict]:
        return matched.considered, {}


class RandomSampling(RegionSampler):
    """Slot `region_sampler`: a fixed number an image at random, with at most a fraction of foreground (Faster R-CNN).

    As detectron2's `subsample_labels`: min(foreground, int(per_image * fraction)) foreground regions, the rest
    background; fewer only when the background is exhausted.

    Args:
        per_image: regions kept of one image (RPN 256, RoI head 512).
        fraction: largest share of foreground (RPN 0.5, RoI head 0.25).
        background_ratio: most background regions for each foreground one of the image, or for one where it has none;
            None sets no limit.
    """

    per_image: int

    def __init__(self, per_image: int = 512, fraction: float = 0.25, background_ratio: float | None = None):
        if per_image < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"need per_image >= 1 and fraction in 0..1, got {per_image} and {fraction}")
        if background_ratio is not None and background_ratio < 0:
            raise ValueError(f"background_ratio must be 0 or more, got {background_ratio}")
        self.per_image = per_image
        self.fraction = fraction
        self.background_ratio = background_ratio

    def __call__(self, matched: Matched) -> tuple[Tensor, dict]:
        n, most = matched.num_images, int(self.per_image * self.fraction)
        foreground, background = matched.foreground.view(n, -1), matched.background.view(n, -1)
        positives = foreground.sum(dim=1, keepdim=True).clamp(max=most)
        negatives = self.per_image - positives
        if self.background_ratio is not None:
            negatives = torch.minimum(negatives, (self.background_ratio * positives.clamp(min=1)).long())
        chosen = self.positives(matched, foreground, positives, most)
        chosen = chosen | self.negatives(matched, background, negatives, self.per_image)
        return chosen.view(-1), {}

    def positives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        """Which foreground regions are kept; arguments and result as of `choose`. Other samplers replace it."""
        return choose(candidates, count, most)

    def negatives(self, matched: Matched, candidates: Tensor, count: Tensor, most: int) -> Tensor:
        """The same for background."""
        return choose(candidates, count, most)


def choose(candidates: Tensor, count: Tensor, most: int, priority: Tensor | None = None) -> Tensor:
    """For each image the `count` candidates of the highest priority.

    Args:
        candidates: (N, A) bool. count: (N, 1) how many to take. most: an upper bound of count, known to the host.
        priority: (N, A), 0 or more; random in 0..1 if not given.

    Returns:
        (N, A) bool; fewer than `count` where candidates are fewer.
    """
    most = min(most, candidates.shape[1])
    if most == 0:
        return torch.zeros_like(candidates)
    if priority is None:
        priority = torch.rand(candidates.shape, device=candidates.device)
    value, index = torch.where(candidates, priority, -1.0).topk(most, dim=1)
    taken = (torch.arange(most, device=candidates.device) < count) & (value >= 0)
    return torch.zeros_like(candidates).scatter(1, index, taken)


def compress(mask: Tensor, num_images: int, per_image: int | None) -> tuple[Tensor, Tensor] | None:
    """The regions of a mask as indices of a shape known to the host.

    Args:
        mask: (R,) bool. per_image: the most that the mask keeps of one image; None keeps the shape.

    Returns:
        index (N*S,) into the R regions, image after image, and kept (N*S,) bool (False where an image has fewer); None
        if there is nothing to gain (S = R / N).
    """
    rows = mask.view(num_images, -1)
    size = rows.shape[1]
    if per_image is None or per_image >= size:
        return None
    value, index = rows.to(torch.uint8).topk(per_image, dim=1)
    index = index + torch.arange(num_images, device=mask.device).unsqueeze(1) * size
    return index.view(-1), value.view(-1).bool()


class Chain(nn.Module, RegionFeatures):
    """Slot `region_features`: one after another, each on what the one before it made.

    Args:
        parts: fillers of the slot, first to last.
    """

    def __init__(self, parts):
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)

    def build(self, channels: int, size: int) -> None:
        for part in self.parts:
            part.build(channels, size)

    def forward(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """(R, C, S, S) -> (R, C, S, S), stats of all."""
        stats: dict = {}
        for part in self.parts:
            features, more = part(features, matched, head)
            stats.update(more)
        return features, stats

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        stats: dict = {}
        for part in self.parts:
            losses, more = part.settle(losses, logits, matched)
            stats.update(more)
        return losses, stats


class SoftmaxCrossEntropy(Classification):
    """Slot `classification`: K + 1 logits, background last (Faster R-CNN's RoI head)."""

    normalizer = None

    def num_logits(self, num_classes: int) -> int:
        return num_classes + 1

    def initial_bias(self, num_classes: int) -> float:
        return 0.0

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        return F.cross_entropy(logits, matched.labels, ignore_index=-1, reduction="none"), {}

    def scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[..., :-1]

    def background(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[..., -1]


class SigmoidLogits(Classification):
    """K independent logits, background is all zeros: what every sigmoid loss has in common.

    Call `set_prior` in the constructor.
    """

    def set_prior(self, prior: float) -> None:
        """prior: probability of every class before training; the bias is -log((1 - prior) / prior).

        Raises:
            ValueError: not in 0..1 exclusive.
        """
        if not 0 < prior < 1:
            raise ValueError(f"prior is a probability in 0..1 exclusive, got {prior}")
        self.prior = prior

    def num_logits(self, num_classes: int) -> int:
        return num_classes

    def initial_bias(self, num_classes: int) -> float | Tensor:
        return -math.log((1 - self.prior) / self.prior)

    def scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class SigmoidCrossEntropy(SigmoidLogits):
    """Slot `classification`: cross entropy of K independent logits (RPN; RetinaNet without focal loss).

    Args:
        prior: see SigmoidLogits. With 0.5 the bias is 0. RetinaNet takes 0.01, without which cross entropy over 100,000
            anchors diverges (Lin et al., 2017, section 3.3).
    """

    normalizer = None

    def __init__(self, prior: float = 0.5):
        self.set_prior(prior)

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1), {}


def one_hot(labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """(R,) -> (R, K); rows of background and of ignored regions are zero."""
    return (labels.unsqueeze(1) == torch.arange(num_classes, device=labels.device)).to(dtype)


def constants(values: Any, like: Tensor) -> Tensor:
    """Numbers of the host on the device of `like`, in its dtype; unlike `like.new_tensor` it does not wait for it."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)


class SmoothL1(Regression):
    """Slot `regression`: sum over the four deltas of x^2 / (2 beta) where |x| < beta, else |x| - beta / 2.

    Args:
        beta: where the parabola ends, in units of the weighted deltas; 0 (detectron2's default) is plain L1.
    """

    def __init__(self, beta: float = 0.0):
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        error = (deltas - box_coder.encode(matched.boxes, matched.targets)).abs()
        if self.beta >= 1e-5:  # below, the parabola's branch divides by almost zero
            error = (error < self.beta) * error**2 / (2 * self.beta) + (error >= self.beta) * (error - self.beta / 2)
        return error.sum(dim=1), {}


class Considered(Normalizer):
    """All regions that take part, foreground and background (detectron2's RoI heads)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.considered.sum().clamp(min=1).float()


class PerImage(Normalizer):
    """A constant for each image of the batch, whatever was sampled (detectron2's RPN: the 256 it asks for).

    Args:
        count: regions an image.
    """

    def __init__(self, count: int = 256):
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count

    def __call__(self, matched: Matched) -> Tensor:
        return torch.full((), float(self.count * matched.num_images), device=matched.labels.device)


class Foreground(Normalizer):
    """The foreground regions of the batch, at least 1 (RetinaNet as published)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.foreground.sum().clamp(min=1).float()


class ForegroundAverage(RunningState, Normalizer):
    """A running mean of the foreground regions of a batch: n <- momentum n + (1 - momentum) max(foreground, 1).

    As detectron2's RetinaNet, which smooths the steps of batches with few objects. The batch that is divided is in the
    mean already. With several processes it is the mean over all of theirs.

    Args:
        momentum: in 0..1. start: first value of n.
    """

    value: Tensor

    def __init__(self, momentum: float = 0.9, start: float = 100.0):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(float(start)))

    def forward(self, matched: Matched) -> Tensor:
        count = matched.foreground.sum().clamp(min=1).float()
        return self._after(**self.collect(count=count, batches=torch.ones_like(count)))

    def fold(self, count: Tensor, batches: Tensor) -> None:
        self.value.copy_(self._after(count, batches))

    def _after(self, count: Tensor, batches: Tensor) -> Tensor:
        return self.momentum * self.value + (1 - self.momentum) * (count / batches)


class FixedWeights(nn.Module, Objective):
    """Slot `objective`: each loss times a constant; losses that are not named keep the factor 1.

    Args:
        weights: {name of a loss: factor}. A name that no loss has is an error at the first step.
    """

    def __init__(self, weights: dict[str, float] | None = None):
        super().__init__()
        self.weights = dict(weights or {})

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        unknown = sorted(set(self.weights) - set(losses))
        if unknown:
            raise ValueError(f"objective weights name {unknown}, but the losses are {sorted(losses)}")
        return {k: v * self.weights[k] if k in self.weights else v for k, v in losses.items()}, {}
