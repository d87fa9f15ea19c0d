"""RetinaNet and the RPN with our criterion; needs detectron2.

Letters: N images, A anchors of one image, K classes, C logits an anchor, V values beside the deltas.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from detectron2.modeling.proposal_generator.rpn import RPN
from torch import Tensor, nn

from ..modeling.criterion import Criterion
from ..modeling.defaults import AllRegions, ForegroundAverage, PerImage, SigmoidCrossEntropy
from ..modeling.heads import EXTRA_STD
from ..modeling.running_state import running_states
from ..remedies.class_fg_bg.focal_loss import FocalLoss
from ..structures import Objects
from .fillers import regression_like
from .matched import OwnMatcher, OwnSampling, box_coder_of, check_outputs, fill_bias, log, objects_of
from .yacs import fillers_of_cfg


def _over_grid(
    criterion: Criterion, anchors: list[Any], objects: Objects, logits: Tensor, outputs: Tensor
) -> dict[str, Tensor]:
    """Anchors of each level, logits (N, A, C), outputs (N, A, 4 + V) -> losses."""
    regions = torch.cat([one.tensor for one in anchors])
    counts = torch.tensor([len(one) for one in anchors], device=regions.device)
    levels = torch.arange(len(anchors), device=regions.device).repeat_interleave(counts)
    with running_states(criterion, ends_step=True):
        losses, stats = criterion.over_grid(regions, levels, objects, logits, outputs)
    log(stats)
    return losses


@META_ARCH_REGISTRY.register()
class SlotsRetinaNet(RetinaNet):
    """detectron2's RetinaNet with our slots; what is not given is detectron2's own loss.

    Args:
        classification, regression, weighting, normalizer, coupling, region_sampler, matcher, calibration: the slots.
        classification_weight, regression_weight: factors of the losses. parts: of RetinaNet.

    Raises:
        ValueError: a regression that predicts no deltas.
    """

    @configurable
    def __init__(
        self,
        *,
        classification=None,
        regression=None,
        weighting=None,
        normalizer=None,
        coupling=None,
        region_sampler=None,
        matcher=None,
        calibration=None,
        classification_weight: float = 1.0,
        regression_weight: float = 1.0,
        **parts: Any,
    ):
        super().__init__(**parts)
        own = classification is None
        if own:
            classification = FocalLoss(gamma=self.focal_loss_gamma, alpha=self.focal_loss_alpha)
        regression = regression or regression_like(self.box_reg_loss_type, self.smooth_l1_beta)
        check_outputs(classification, regression, True, "model")
        self.criterion = Criterion(
            matcher=matcher or OwnMatcher(self.anchor_matcher),
            region_sampler=region_sampler or AllRegions(),
            classification=classification,
            regression=regression,
            normalizer=normalizer or ForegroundAverage(),
            box_coder=box_coder_of(self.box2box_transform),
            num_classes=self.num_classes,
            weighting=weighting,
            classification_weight=classification_weight,
            regression_weight=regression_weight,
            coupling=coupling,
        )
        self.criterion.matcher.build(tuple(self.anchor_generator.strides))
        self.calibration = calibration
        self.per_anchor = classification.num_logits(self.num_classes), 4 + regression.extra_values
        anchors = self.head.bbox_pred.out_channels // 4
        if self.head.cls_score.out_channels != anchors * self.per_anchor[0]:
            self.head.cls_score = _like(self.head.cls_score, anchors * self.per_anchor[0], 0.01)
        if not own:  # detectron2's head has the bias of its own `prior_prob`
            fill_bias(self.head.cls_score, classification.initial_bias(self.num_classes), anchors)
        if regression.extra_values:
            self.head.bbox_pred = _WithExtra(self.head.bbox_pred, anchors, regression.extra_values)

    @classmethod
    def from_config(cls, cfg):
        return {**super().from_config(cfg), **fillers_of_cfg(cfg, "retinanet")}

    def forward_training(self, images: Any, features: Any, predictions: Any, gt_instances: list[Any]) -> dict:
        """Train as RetinaNet does; match, sample, lose are the criterion's."""
        logits, outputs = self._transpose_dense_predictions(predictions, self.per_anchor)
        anchors, objects = self.anchor_generator(features), objects_of(gt_instances)
        return _over_grid(self.criterion, anchors, objects, torch.cat(logits, dim=1), torch.cat(outputs, dim=1))

    def forward_inference(self, images: Any, features: Any, predictions: Any) -> list[Any]:
        """Detect as RetinaNet does; scores are the classification's, calibrated."""
        logits, outputs = self._transpose_dense_predictions(predictions, self.per_anchor)
        anchors = self.anchor_generator(features)
        scores = [self.criterion.scores(level, self.calibration) for level in logits]
        deltas = [level[..., :4] for level in outputs]
        return [
            self.inference_single_image(anchors, [one[i] for one in scores], [one[i] for one in deltas], size)
            for i, size in enumerate(images.image_sizes)
        ]


@PROPOSAL_GENERATOR_REGISTRY.register()
class SlotsRPN(RPN):
    """detectron2's RPN with our slots; what is not given is detectron2's own loss and choice of anchors.

    Args:
        classification, regression, weighting, normalizer, coupling, region_sampler, matcher: the slots.
        classification_weight, regression_weight: factors of the losses; None takes `loss_weight`. parts: of RPN.

    Raises:
        ValueError: a classification of more than one logit, a regression that predicts more than deltas, or
            `anchor_boundary_thresh`, which detectron2 itself calls legacy.
    """

    @configurable
    def __init__(
        self,
        *,
        classification=None,
        regression=None,
        weighting=None,
        normalizer=None,
        coupling=None,
        region_sampler=None,
        matcher=None,
        classification_weight: float | None = None,
        regression_weight: float | None = None,
        **parts: Any,
    ):
        super().__init__(**parts)
        if self.anchor_boundary_thresh >= 0:
            raise ValueError(f"anchor_boundary_thresh is {self.anchor_boundary_thresh}; SlotsRPN takes -1")
        own = classification is None
        classification = classification or SigmoidCrossEntropy(prior=0.5)
        if classification.num_logits(1) != 1:
            raise ValueError(f"{type(classification).__name__} has more than one logit for one class; the RPN has one")
        regression = regression or regression_like(self.box_reg_loss_type, self.smooth_l1_beta)
        check_outputs(classification, regression, False, "proposal_generator")
        cls_weight = self.loss_weight.get("loss_rpn_cls", 1.0)
        loc_weight = self.loss_weight.get("loss_rpn_loc", 1.0)
        self.criterion = Criterion(
            matcher=matcher or OwnMatcher(self.anchor_matcher),
            region_sampler=region_sampler or OwnSampling(self.batch_size_per_image, self.positive_fraction),
            classification=classification,
            regression=regression,
            normalizer=normalizer or PerImage(self.batch_size_per_image),
            box_coder=box_coder_of(self.box2box_transform),
            num_classes=1,
            weighting=weighting,
            classification_weight=cls_weight if classification_weight is None else classification_weight,
            regression_weight=loc_weight if regression_weight is None else regression_weight,
            names=("loss_rpn_cls", "loss_rpn_loc"),
            coupling=coupling,
        )
        self.criterion.matcher.build(tuple(self.anchor_generator.strides))
        if not own:
            fill_bias(self.rpn_head.objectness_logits, classification.initial_bias(1))

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {**super().from_config(cfg, input_shape), **fillers_of_cfg(cfg, "proposal_generator")}

    def label_and_sample_anchors(self, anchors: list[Any], gt_instances: list[Any]) -> tuple[Objects, None]:
        """Return the objects, for `losses`, which matches and samples by the criterion."""
        objects = objects_of(gt_instances)
        return replace(objects, labels=torch.zeros_like(objects.labels)), None

    def losses(self, anchors, pred_objectness_logits, gt_labels: Objects, pred_anchor_deltas, gt_boxes) -> dict:
        """Return losses as RPN does, from what `label_and_sample_anchors` returned."""
        logits, deltas = torch.cat(pred_objectness_logits, dim=1), torch.cat(pred_anchor_deltas, dim=1)
        return _over_grid(self.criterion, anchors, gt_labels, logits.unsqueeze(2), deltas)


class _WithExtra(nn.Conv2d):
    """The convolution of the deltas, under its own names, with another beside it for V values an anchor."""

    def __init__(self, deltas: nn.Conv2d, anchors: int, extra: int):
        super().__init__(deltas.in_channels, deltas.out_channels, deltas.kernel_size, deltas.stride, deltas.padding)
        self.load_state_dict(deltas.state_dict())
        self.anchors = anchors
        self.extra = _like(deltas, anchors * extra, EXTRA_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) -> (N, anchors * (4 + V), H, W), those of an anchor together."""
        parts = (super().forward(x), self.extra(x))
        return torch.cat([part.unflatten(1, (self.anchors, -1)) for part in parts], dim=2).flatten(1, 2)


def _like(layer: nn.Conv2d, channels: int, std: float) -> nn.Conv2d:
    """A new convolution of the same shape with so many outputs."""
    new = nn.Conv2d(layer.in_channels, channels, layer.kernel_size, layer.stride, layer.padding)
    nn.init.normal_(new.weight, std=std)
    nn.init.zeros_(new.bias)
    return new
