"""RoI heads: the box predictor with our slots, and heads that sample their regions with ours; needs detectron2.

Letters: N images, R regions of the batch, K classes, C logits a region, V values beside the deltas.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling.proposal_generator.proposal_utils import add_ground_truth_to_proposals
from detectron2.modeling.roi_heads import (
    ROI_HEADS_REGISTRY,
    CascadeROIHeads,
    FastRCNNOutputLayers,
    StandardROIHeads,
)
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..modeling.criterion import Criterion, match
from ..modeling.defaults import AllRegions, Considered, SigmoidCrossEntropy, SoftmaxCrossEntropy
from ..modeling.heads import EXTRA_STD
from ..modeling.roi_heads import of_class
from .fillers import regression_like
from .matched import (
    OwnMatcher,
    OwnSampling,
    box_coder_of,
    check_outputs,
    fill_bias,
    log,
    losses_of,
    matched_of,
    objects_of,
)
from .yacs import fillers_of_cfg


class Slots(FastRCNNOutputLayers):
    """detectron2's box predictor with our slots; what is not given is detectron2's own loss.

    A checkpoint of a FastRCNNOutputLayers fits where the classification has K + 1 logits; else `cls_score` is new.

    Args:
        input_shape, box2box_transform, num_classes, settings: as of FastRCNNOutputLayers.
        classification, regression, weighting, normalizer, coupling, calibration: the slots of those names.
        classification_weight, regression_weight: factors of the losses; None takes `loss_weight`.

    Raises:
        ValueError: federated loss, which no slot holds; a regression that predicts no deltas.
    """

    def __init__(
        self,
        input_shape: Any,
        *,
        box2box_transform: Any,
        num_classes: int,
        classification=None,
        regression=None,
        weighting=None,
        normalizer=None,
        coupling=None,
        calibration=None,
        classification_weight: float | None = None,
        regression_weight: float | None = None,
        **settings: Any,
    ):
        super().__init__(input_shape, box2box_transform=box2box_transform, num_classes=num_classes, **settings)
        if self.use_fed_loss:
            raise ValueError("use_fed_loss is a loss of detectron2's own, which no slot holds; set it to False")
        if classification is None:
            classification = SigmoidCrossEntropy() if self.use_sigmoid_ce else SoftmaxCrossEntropy()
        regression = regression or regression_like(self.box_reg_loss_type, self.smooth_l1_beta)
        check_outputs(classification, regression, True, "roi_heads.box_predictor")
        self.criterion = Criterion(
            matcher=None,  # the heads have matched and sampled already
            region_sampler=AllRegions(),
            classification=classification,
            regression=regression,
            normalizer=normalizer or Considered(),
            box_coder=box_coder_of(box2box_transform),
            num_classes=num_classes,
            weighting=weighting,
            classification_weight=_given(classification_weight, self.loss_weight.get("loss_cls", 1.0)),
            regression_weight=_given(regression_weight, self.loss_weight.get("loss_box_reg", 1.0)),
            coupling=coupling,
        )
        self.calibration = calibration
        width, logits = self.cls_score.in_features, classification.num_logits(num_classes)
        if logits != self.cls_score.out_features:
            self.cls_score = nn.Linear(width, logits)
            nn.init.normal_(self.cls_score.weight, std=0.01)
        fill_bias(self.cls_score, classification.initial_bias(num_classes))
        self.extra = regression.extra_values
        if self.extra:
            self.bbox_extra = nn.Linear(width, self.bbox_pred.out_features // 4 * self.extra)
            nn.init.normal_(self.bbox_extra.weight, std=EXTRA_STD)
            nn.init.zeros_(self.bbox_extra.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (R, ...) -> logits (R, C), deltas (R, K * 4 or 4), and values beside them (R, K * V or V) if there
        are.
        """
        outputs = super().forward(x)
        return (*outputs, self.bbox_extra(x.flatten(1))) if self.extra else outputs

    def losses(self, predictions: tuple[Tensor, ...], proposals: list[Any]) -> dict[str, Tensor]:
        """Return losses as FastRCNNOutputLayers does; they come from the slots."""
        logits, deltas, *extra = predictions
        parts = [deltas.view(len(deltas), -1, 4), *(one.view(len(one), -1, self.extra) for one in extra)]
        matched = matched_of(proposals, self.num_classes)
        outputs = of_class(torch.cat(parts, dim=2), matched.labels)
        return losses_of(self.criterion, logits, outputs, matched, [len(one) for one in proposals])

    def predict_boxes(self, predictions: tuple[Tensor, ...], proposals: list[Any]) -> tuple[Tensor, ...]:
        return super().predict_boxes(predictions[:2], proposals)

    def predict_boxes_for_gt_classes(self, predictions: tuple[Tensor, ...], proposals: list[Any]) -> tuple[Tensor, ...]:
        return super().predict_boxes_for_gt_classes(predictions[:2], proposals)

    def predict_probs(self, predictions: tuple[Tensor, ...], proposals: list[Any]) -> tuple[Tensor, ...]:
        """Return scores (R_i, K + 1) of each image, calibrated; the last is background's, 0 where each class is by
        itself.
        """
        logits = predictions[0].float()
        scores = self.criterion.scores(logits, self.calibration)
        background = self.criterion.classification.background(logits)
        last = torch.zeros_like(scores[:, 0]) if background is None else background
        return torch.cat((scores, last.unsqueeze(1)), dim=1).split([len(one) for one in proposals])


class _OwnRegions:
    """Mixed into RoI heads: `region_sampler` and `matcher`, if given, take the place of detectron2's own."""

    region_sampler = None
    matcher = None

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals: list[Any], targets: list[Any]) -> list[Any]:
        """Label and sample as ROIHeads does; the sampler sees labels, objects and IoU of all images at once."""
        if self.region_sampler is None and self.matcher is None:
            return super().label_and_sample_proposals(proposals, targets)
        if self.proposal_append_gt:
            proposals = add_ground_truth_to_proposals(targets, proposals)
        objects, boxes = objects_of(targets), [one.proposal_boxes.tensor for one in proposals]
        real = pad_sequence([torch.ones_like(one[:, 0], dtype=torch.bool) for one in boxes], batch_first=True)
        levels = torch.full_like(real, -1, dtype=torch.long)
        matcher = self.matcher or OwnMatcher(self.proposal_matcher)
        sampler = self.region_sampler or OwnSampling(self.batch_size_per_image, self.positive_fraction)
        matched = match(pad_sequence(boxes, batch_first=True), levels, objects, matcher, self.num_classes, real)
        keep = sampler(matched)[0].view(real.shape)
        labels, index = matched.labels.view(real.shape), matched.objects.view(real.shape)
        chosen = []
        for i, (one, target) in enumerate(zip(proposals, targets, strict=True)):
            rows = keep[i].nonzero().squeeze(1)
            one = one[rows]
            one.gt_classes = labels[i, rows]
            of_object = index[i, rows] - i * objects.labels.shape[1]
            for name, value in target.get_fields().items() if len(target) else ():
                if name.startswith("gt_") and not one.has(name):
                    one.set(name, value[of_object])
            chosen.append(one)
        counts = [(one.gt_classes < self.num_classes).sum() for one in chosen]
        log({"roi_head/num_fg_samples": torch.stack(counts).float().mean()})
        return chosen


@ROI_HEADS_REGISTRY.register()
class SlotsROIHeads(_OwnRegions, StandardROIHeads):
    """StandardROIHeads with the slots region_sampler and matcher; from a yacs config, with `Slots` as predictor.

    Args:
        region_sampler, matcher: the slots; None leaves sampling and matching to detectron2. parts: of StandardROIHeads.
    """

    @configurable
    def __init__(self, *, region_sampler=None, matcher=None, **parts: Any):
        super().__init__(**parts)
        self.region_sampler, self.matcher = region_sampler, matcher

    @classmethod
    def from_config(cls, cfg, input_shape):
        parts = super().from_config(cfg, input_shape)
        parts["box_predictor"] = _predictor(cfg, parts["box_head"], parts["box_predictor"])
        return {**parts, **fillers_of_cfg(cfg, "roi_heads")}


@ROI_HEADS_REGISTRY.register()
class SlotsCascadeROIHeads(_OwnRegions, CascadeROIHeads):
    """CascadeROIHeads with the slots region_sampler and matcher, of the first stage; from a yacs config, with `Slots`
    as the predictor of every stage.

    Args:
        region_sampler, matcher: as of SlotsROIHeads. parts: of CascadeROIHeads.
    """

    @configurable
    def __init__(self, *, region_sampler=None, matcher=None, **parts: Any):
        super().__init__(**parts)
        self.region_sampler, self.matcher = region_sampler, matcher

    @classmethod
    def from_config(cls, cfg, input_shape):
        parts = super().from_config(cfg, input_shape)
        stages = zip(parts["box_heads"], parts["box_predictors"], strict=True)
        parts["box_predictors"] = [_predictor(cfg, head, predictor) for head, predictor in stages]
        return {**parts, **fillers_of_cfg(cfg, "roi_heads")}


def _predictor(cfg: Any, head: nn.Module, predictor: FastRCNNOutputLayers) -> Slots:
    """`Slots` in place of a predictor that detectron2 built from a yacs config."""
    settings = FastRCNNOutputLayers.from_config(cfg, head.output_shape)
    return Slots(
        **{**settings, "box2box_transform": predictor.box2box_transform, **fillers_of_cfg(cfg, "box_predictor")}
    )


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
