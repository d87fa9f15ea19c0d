"""From detectron2's proposals and anchors to the batch that every slot sees; needs detectron2.

What is notable here: an image's regions are a list there and a row of equal length here, so shorter rows are filled up
with ignored regions.

Letters: N images, M objects of the fullest image, P regions of the fullest image, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.modeling.sampling import subsample_labels
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..modeling.boxes import BoxCoder, paired_iou
from ..modeling.criterion import Criterion
from ..modeling.running_state import running_states
from ..slots import Classification, Matcher, RegionSampler, Regression, Stats
from ..structures import Matched, Objects

#: how often statistics of the slots are written to the event storage; reading them waits for the device
STATS_PERIOD = 20


class OwnMatcher(Matcher):
    """Slot `matcher`: detectron2's own Matcher, which takes the overlaps of one image (M, P).

    Args:
        matcher: called with (M, P) -> object index (P,), label (P,).
    """

    def __init__(self, matcher: Any):
        self.matcher = matcher

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = [self.matcher(one[: int(count)]) for one, count in zip(iou, valid.sum(dim=1), strict=True)]
        index, kind = (torch.stack(part) for part in zip(*found, strict=True))
        return index, iou.gather(1, index.unsqueeze(1)).squeeze(1), kind


class OwnSampling(RegionSampler):
    """Slot `region_sampler`: detectron2's own choice, with its random numbers, one image after another.

    Args:
        per_image: regions kept of an image. fraction: largest share of foreground.
    """

    def __init__(self, per_image: int, fraction: float):
        self.per_image = per_image
        self.fraction = fraction

    def __call__(self, matched: Matched) -> tuple[Tensor, Stats]:
        keep = torch.zeros_like(matched.labels, dtype=torch.bool).view(matched.num_images, -1)
        for row, labels in zip(keep, matched.labels.view(keep.shape), strict=True):
            for index in subsample_labels(labels, self.per_image, self.fraction, matched.num_classes):
                row[index] = True
        return keep.view(-1), {}


def objects_of(instances: list[Any]) -> Objects:
    """Return `gt_boxes` and `gt_classes` of the images, padded to the fullest."""
    boxes = pad_sequence([one.gt_boxes.tensor for one in instances], batch_first=True)
    labels = pad_sequence([one.gt_classes for one in instances], batch_first=True)
    if boxes.shape[1] == 0:
        boxes, labels = boxes.new_zeros(len(instances), 1, 4), labels.new_zeros(len(instances), 1)
    counts = torch.tensor([len(one) for one in instances], device=labels.device)
    return Objects(boxes, labels, torch.arange(labels.shape[1], device=labels.device) < counts.unsqueeze(1))


def padded_rows(counts: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return rows of different length as one rectangle: index (N * P,) into the flat rows, real (N * P,) bool."""
    longest = max(counts)
    number = torch.tensor(counts, device=device).unsqueeze(1)
    place = torch.arange(longest, device=device)
    first = number.cumsum(dim=0) - number
    real = place < number
    return (first + place).where(real, 0).flatten(), real.flatten()


def matched_of(proposals: list[Any], num_classes: int) -> Matched:
    """Return proposals that detectron2 has labeled, image after image, each R_i of them.

    Objects (their index) and pyramid levels are unknown here: -1.
    """
    boxes = torch.cat([one.proposal_boxes.tensor for one in proposals])
    labels = torch.cat([one.gt_classes for one in proposals])
    targets = torch.cat([(one.gt_boxes if one.has("gt_boxes") else one.proposal_boxes).tensor for one in proposals])
    with_objects = torch.cat([torch.full_like(one.gt_classes, one.has("gt_boxes")) for one in proposals]).bool()
    counts = torch.tensor([len(one) for one in proposals], device=labels.device)
    unknown = torch.full_like(labels, -1)
    foreground = (labels >= 0) & (labels < num_classes)
    return Matched(
        labels=labels,
        objects=unknown,
        iou=paired_iou(boxes, targets).where(with_objects, 0.0),
        images=torch.arange(len(proposals), device=labels.device).repeat_interleave(counts),
        levels=unknown,
        boxes=boxes,
        targets=targets.where(foreground.unsqueeze(1), boxes),
        num_classes=num_classes,
        num_images=len(proposals),
    )


def losses_of(criterion: Criterion, logits: Tensor, outputs: Tensor, matched: Matched, counts: list[int]) -> dict:
    """Return the losses of regions that come image after image, counts of each: logits (R, C), outputs (R, 4 + V)."""
    if not sum(counts):
        return {name: logits.sum() * 0 + outputs.sum() * 0 for name in criterion.names}
    if len(set(counts)) > 1:
        index, real = padded_rows(counts, logits.device)
        images = torch.arange(len(counts), device=index.device).repeat_interleave(max(counts))
        logits, outputs, matched = logits[index], outputs[index], matched.take(index).ignore_all_but(real)
        matched.images = images
    with running_states(criterion, ends_step=True):
        losses, stats = criterion(logits, outputs, matched)
    log(stats)
    return losses


def log(stats: Stats) -> None:
    """Write the numbers among the statistics to detectron2's event storage, now and then."""
    storage = get_event_storage()
    if storage.iter % STATS_PERIOD == 0:
        for name, value in stats.items():
            if isinstance(value, Tensor) and value.numel() == 1:
                storage.put_scalar(name, float(value))


def check_outputs(classification: Classification, regression: Regression, extra: bool, where: str) -> None:
    """Raise ValueError for a box form, or values beside the deltas where the head has no place for them."""
    if regression.num_values != 4:
        raise ValueError(
            f"{where}: {type(regression).__name__} predicts {regression.num_values} values in place of four deltas; "
            "detectron2 decodes deltas"
        )
    if regression.extra_values and not extra:
        raise ValueError(
            f"{where}: {type(regression).__name__} asks for {regression.extra_values} values beside the deltas, for "
            "which this head has no place"
        )


def box_coder_of(transform: Any) -> BoxCoder:
    """Return the coder with the weights of detectron2's Box2BoxTransform."""
    if len(transform.weights) != 4:
        raise ValueError(f"{type(transform).__name__} has {len(transform.weights)} weights; only plain boxes have 4")
    return BoxCoder(transform.weights)


def fill_bias(layer: nn.Module, bias: float | Tensor, repeats: int = 1) -> None:
    """Set the bias of a layer of `repeats` times C outputs; one number, or (C,)."""
    with torch.no_grad():
        layer.bias.copy_(bias.repeat(repeats) if isinstance(bias, Tensor) else torch.full_like(layer.bias, bias))
