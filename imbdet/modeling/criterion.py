"""Match, sample, lose, weigh, sum: written once, for RetinaNet, the RPN and every stage of an RoI head.

Letters: N images, M objects of the fullest image, A regions of one image, R regions of the batch, C logits a region.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ..slots import Calibration, Classification, Matcher, Normalizer, RegionSampler, Regression, Weighting
from ..structures import Matched, Objects, RegionStats
from .boxes import BoxCoder
from .matching import match


class Criterion(nn.Module):
    """From regions and a head's outputs to two losses.

    Args:
        matcher, region_sampler, classification, regression, weighting: the slots of those names (`imbdet/slots.py`);
            `weighting` may be None for all ones.
        normalizer: divides both summed losses, unless the classification brings its own (`classification.normalizer`).
        box_coder: how deltas and boxes are turned into each other.
        num_classes: K.
        classification_weight, regression_weight: factors of the two losses.
        names: under which names the two losses are reported.
        loss_scale: a LossScale that makes the losses as large as those of another classification and regression; None
            leaves them alone.
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
        loss_scale=None,
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
        self.loss_scale = loss_scale
        if loss_scale is not None:
            loss_scale.check(classification, regression, num_classes)

    def match(self, regions: Tensor, levels: Tensor, objects: Objects, allowed: Tensor | None = None) -> Matched:
        """regions (A, 4) or (N, A, 4), levels (A,) or (N, A), allowed (N, A) or None -> all R = N*A regions matched."""
        return match(regions, levels, objects, self.matcher, self.num_classes, allowed)

    def sample(self, matched: Matched) -> tuple[Matched, dict]:
        """Regions that the sampler leaves out are ignored from here on."""
        keep, stats = self.region_sampler(matched)
        return matched.ignore_all_but(keep), stats

    def forward(self, logits: Tensor, deltas: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        """logits (R, C), deltas (R, 4 + V), matched and sampled regions -> {name: loss}, stats.

        V is what the regression asks for beside the deltas (`regression.extra_values`, 0 for most).
        Computed in float32 whatever the head's precision, as losses of millions of terms are summed here.
        """
        logits, deltas = logits.float(), deltas.float()
        considered, foreground = matched.considered, matched.foreground
        # outside of the foreground a delta is 0 and its target too: no gradient, and nothing that could overflow
        deltas = deltas.where(foreground.unsqueeze(1), 0.0)
        matched = replace(matched, deltas=deltas.detach()[:, :4], box_coder=self.box_coder)

        classification, stats = self.classification(logits, matched)
        regression, more = self.regression(deltas, matched, self.box_coder)
        stats = {**stats, **more}
        classification, regression = classification.where(considered, 0.0), regression.where(foreground, 0.0)
        weights = None
        if self.weighting is not None:
            weights, more = self.weighting(classification.detach(), regression.detach(), matched)
            classification, regression = classification * weights[0], regression * weights[1]
            stats.update(more)

        norm = self.normalizer(matched)
        cls_norm = norm if self.classification.normalizer is None else self.classification.normalizer(matched)
        name_cls, name_reg = self.names
        losses = {
            name_cls: classification.sum() * (self.classification_weight / cls_norm),
            name_reg: regression.sum() * (self.regression_weight / norm),
        }
        if self.loss_scale is not None:
            factors, more = self.loss_scale(tuple(losses.values()), logits, deltas, matched, weights, norm)
            losses = {name: loss * factor for (name, loss), factor in zip(losses.items(), factors, strict=True)}
            stats.update(more)
        stats["regions"] = RegionStats(
            matched, classification.detach(), regression.detach(), matched.deltas, self.box_coder
        )
        return losses, stats

    def scores(self, logits: Tensor, calibration: Calibration | None = None) -> Tensor:
        """logits (..., C) -> scores (..., K) in 0..1 in float32, calibrated where the detector has a calibration."""
        logits = logits.float()
        if calibration is None:
            return self.classification.scores(logits)
        logits = calibration.logits(logits)
        return calibration(self.classification.scores(logits), self.classification.background(logits))

    def decode(self, deltas: Tensor, regions: Tensor) -> Tensor:
        """What the head says at test (..., 4 + V) of regions (..., 4) -> boxes (..., 4); (..., 4 + 4) with the
        deviation of each side in pixels where the regression predicts one (`deviations`).
        """
        boxes = self.box_coder.decode(deltas[..., :4], regions)
        deviations = self.regression.deviations(deltas[..., 4:], regions)
        return boxes if deviations is None else torch.cat((boxes, deviations), dim=-1)
