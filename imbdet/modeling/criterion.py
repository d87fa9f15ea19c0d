"""Match, sample, lose, weigh, sum: written once, for RetinaNet, the RPN and every stage of an RoI head.

Letters: N images, M objects of the fullest image, A regions of one image, R regions of the batch, C logits a region.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..slots import (
    Calibration,
    Classification,
    Coupling,
    Matcher,
    Normalizer,
    RegionSampler,
    Regression,
    Stats,
    Weighting,
)
from ..structures import IGNORE, Matched, Objects, RegionStats
from .boxes import BoxCoder, pairwise_iou
from .running_state import standing

#: elements of an IoU block that are held at once (float32: 256 MiB); larger batches are matched image by image
IOU_BLOCK = 64 * 2**20


class Criterion(nn.Module):
    """From regions and a head's outputs to two losses.

    Args:
        matcher, region_sampler, classification, regression, weighting, coupling: the slots of those names
            (`imbdet/slots.py`); `weighting` may be None for all ones, `coupling` for no loss besides the two.
        normalizer: divides both summed losses, unless the classification brings its own (`classification.normalizer`).
        box_coder: how deltas and boxes are turned into each other.
        num_classes: K.
        classification_weight, regression_weight: factors of the two losses.
        names: under which names the two losses are reported.

    What a head says of a box are its `outputs`: four deltas, or what a BoxForm has in their place, and V values beside
    them (`regression.extra_values`, 0 for most).
    """

    def __init__(
        self,
        matcher: Matcher,
        region_sampler: RegionSampler,
        classification: Classification,
        regression: Regression,
        normalizer: Normalizer,
        box_coder: BoxCoder,
        num_classes: int,
        weighting: Weighting | None = None,
        classification_weight: float = 1.0,
        regression_weight: float = 1.0,
        names: tuple[str, str] = ("loss_cls", "loss_box_reg"),
        coupling: Coupling | None = None,
    ):
        super().__init__()
        self.matcher = matcher
        self.region_sampler = region_sampler
        self.classification = classification
        self.regression = regression
        self.normalizer = normalizer
        self.box_coder = box_coder
        self.num_classes = num_classes
        self.weighting = weighting
        self.classification_weight = classification_weight
        self.regression_weight = regression_weight
        self.names = tuple(names)
        self.coupling = coupling

    def build(self, strides: dict[str, int]) -> None:
        """Take the strides of the neck's levels, finest first."""
        self.matcher.build(tuple(strides.values()))

    def match(self, regions: Tensor, levels: Tensor, objects: Objects, allowed: Tensor | None = None) -> Matched:
        """Map regions (A, 4) or (N, A, 4), levels (A,) or (N, A), allowed (N, A) or None -> all R = N*A regions
        matched.
        """
        return match(regions, levels, objects, self.matcher, self.num_classes, allowed)

    def assign(self, matched: Matched, objects: Objects, index: Tensor, iou: Tensor, kind: Tensor) -> Matched:
        """Return the regions of `matched` anew, with object index, IoU and kind (N, A) as of a matcher; for `rematch`.

        Regions that were ignored for good (kind -1 of the first pass) are what the new kind says.
        """
        shape = index.shape
        regions, levels = matched.boxes.view(*shape, 4), matched.levels.view(shape)
        return assign(regions, levels, objects, index, iou, kind, self.num_classes)

    def sample(self, matched: Matched) -> tuple[Matched, Stats]:
        """Mark the regions that the sampler leaves out as ignored."""
        keep, stats = self.region_sampler(matched)
        return matched.ignore_all_but(keep), stats

    def over_grid(
        self, regions: Tensor, levels: Tensor, objects: Objects, logits: Tensor, outputs: Tensor
    ) -> tuple[dict[str, Tensor], Stats]:
        """Match, match again with the predictions, sample, lose: the whole of a dense head.

        regions (A, 4), levels (A,), logits (N, A, C), outputs (N, A, 4 + V) -> losses, stats.
        """
        logits, outputs = logits.flatten(0, 1), outputs.flatten(0, 1)
        with torch.no_grad():
            matched = self.match(regions, levels, objects)
            matched = self.matcher.rematch(matched, objects, logits.detach().float(), outputs.detach().float(), self)
            matched, stats = self.sample(matched)
        losses, more = self(logits, outputs, matched)
        return losses, {**stats, **more}

    def forward(self, logits: Tensor, outputs: Tensor, matched: Matched) -> tuple[dict[str, Tensor], Stats]:
        """Map logits (R, C), outputs (R, 4 + V), matched and sampled regions -> {name: loss}, stats.

        Computed in float32 whatever the head's precision, as losses of millions of terms are summed here.
        """
        logits, outputs, matched, deltas = self._seen(logits, outputs, matched)
        values, stats = self.values(logits, outputs, matched)
        weighted, weights = values, None
        if self.weighting is not None:
            weights, more = self.weighting(values[0].detach(), values[1].detach(), matched)
            weighted = values[0] * weights[0], values[1] * weights[1]
            stats.update(more)

        norm = self.normalizer(matched)
        cls_norm = norm if self.classification.normalizer is None else self.classification.normalizer(matched)
        name_cls, name_reg = self.names
        losses = {
            name_cls: weighted[0].sum() * (self.classification_weight / cls_norm),
            name_reg: weighted[1].sum() * (self.regression_weight / norm),
        }
        losses, more = self.scaled(losses, logits, outputs, matched, weights, norm)
        stats.update(more)
        if self.coupling is not None:
            coupled, more = self.coupling(logits, outputs, values, matched)
            losses.update(coupled)
            stats.update(more)
        stats["regions"] = RegionStats(matched, weighted[0].detach(), weighted[1].detach(), deltas, self.box_coder)
        return losses, stats

    def _seen(self, logits: Tensor, outputs: Tensor, matched: Matched) -> tuple[Tensor, Tensor, Matched, Tensor]:
        """The head's outputs as the slots see them, the regions with the deltas known, and the deltas."""
        logits, outputs = logits.float(), outputs.float()
        # outside of the foreground a delta is 0 and its target too: no gradient, and nothing that could overflow
        outputs = outputs.where(matched.foreground.unsqueeze(1), 0.0)
        deltas = self.regression.deltas(outputs.detach(), matched.boxes, self.box_coder)
        return logits, outputs, replace(matched, deltas=deltas, box_coder=self.box_coder), deltas

    def values(self, logits: Tensor, outputs: Tensor, matched: Matched) -> tuple[tuple[Tensor, Tensor], Stats]:
        """Map what each region costs, before weights and sums: logits (R, C), outputs (R, 4 + V) in float32 -> the
        values of both losses (R,), (R,), 0 where they do not count, and stats. For a matcher that asks, no state moves.
        """
        if matched.deltas is None:  # asked by a matcher
            logits, outputs, matched, _ = self._seen(logits, outputs, matched)
            with standing(self):
                return self.values(logits, outputs, matched)
        classification, stats = self.classification(logits, matched)
        regression, more = self.regression(outputs, matched, self.box_coder)
        values = classification.where(matched.considered, 0.0), regression.where(matched.foreground, 0.0)
        return values, {**stats, **more}

    def scaled(
        self,
        losses: dict[str, Tensor],
        logits: Tensor,
        outputs: Tensor,
        matched: Matched,
        weights: tuple[Tensor, Tensor] | None,
        norm: Tensor,
    ) -> tuple[dict[str, Tensor], Stats]:
        """Return the two losses as they are; a criterion that changes their size overrides this (`loss_scale.py`)."""
        return losses, {}

    def scores(self, logits: Tensor, calibration: Calibration | None = None) -> Tensor:
        """Map logits (..., C) -> scores (..., K) in 0..1 in float32, calibrated where the detector has a
        calibration.
        """
        logits = logits.float()
        if calibration is None:
            return self.classification.scores(logits)
        logits = calibration.logits(logits)
        return calibration(self.classification.scores(logits), self.classification.background(logits))

    def boxes(self, outputs: Tensor, regions: Tensor) -> Tensor:
        """Map outputs (..., 4 + V) of regions (..., 4) -> boxes (..., 4)."""
        return self.regression.boxes(outputs, regions, self.box_coder)

    def decode(self, outputs: Tensor, regions: Tensor) -> Tensor:
        """Map what the head says at test (..., 4 + V) of regions (..., 4) -> boxes (..., 4); (..., 4 + 4) with the
        deviation of each side in pixels where the regression predicts one (`deviations`).
        """
        boxes = self.boxes(outputs, regions)
        deviations = self.regression.deviations(outputs[..., self.regression.num_values :], regions)
        return boxes if deviations is None else torch.cat((boxes, deviations), dim=-1)


def match(
    regions: Tensor, levels: Tensor, objects: Objects, matcher: Matcher, num_classes: int, allowed: Tensor | None = None
) -> Matched:
    """Map regions and objects of a batch -> the flat batch of R = N*A matched regions.

    Args:
        regions: (A, 4) the same for all images (anchors) or (N, A, 4).
        levels: (A,) or (N, A) pyramid level.
        matcher: the matcher slot.
        allowed: (N, A) bool, False for regions that are only padding; they are ignored.
    """
    n, m = objects.labels.shape
    regions = regions.expand(n, -1, -1)
    a = regions.shape[1]
    step = n if n * m * a <= IOU_BLOCK else max(1, IOU_BLOCK // (m * a))
    parts = []
    for i in range(0, n, step):
        rows, more = slice(i, i + step), {}
        iou = pairwise_iou(objects.boxes[rows], regions[rows])
        if matcher.geometry:
            places = levels.expand(n, a)[rows]
            more = {"regions": regions[rows], "levels": places, "objects": objects.boxes[rows]}
        parts.append(matcher(iou * objects.valid[rows, :, None], objects.valid[rows], **more))
    index, iou, kind = (torch.cat(x) if len(x) > 1 else x[0] for x in zip(*parts, strict=True))
    return assign(regions, levels, objects, index, iou, kind, num_classes, allowed)


def assign(
    regions: Tensor,
    levels: Tensor,
    objects: Objects,
    index: Tensor,
    iou: Tensor,
    kind: Tensor,
    num_classes: int,
    allowed: Tensor | None = None,
) -> Matched:
    """Map what a matcher says of the regions, (N, A) each, -> the flat batch; the other arguments are those of
    `match`.
    """
    n, m = objects.labels.shape
    a = index.shape[1]
    regions = regions.expand(n, -1, -1)
    labels = objects.labels.gather(1, index)
    labels = torch.where(kind == 1, labels, torch.where(kind == 0, num_classes, IGNORE))
    if allowed is not None:
        labels = torch.where(allowed, labels, IGNORE)
    matched_boxes = objects.boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    foreground = ((labels >= 0) & (labels < num_classes)).unsqueeze(-1)
    image = torch.arange(n, device=labels.device).unsqueeze(1).expand(n, a)
    flat = torch.where(objects.valid.gather(1, index), index + image * m, -1)
    return Matched(
        labels=labels.reshape(-1),
        objects=flat.reshape(-1),
        iou=iou.reshape(-1),
        images=image.reshape(-1),
        levels=levels.expand(n, a).reshape(-1),
        boxes=regions.reshape(-1, 4),
        targets=torch.where(foreground, matched_boxes, regions).reshape(-1, 4),
        num_classes=num_classes,
        num_images=n,
    )
