"""Cascade R-CNN: the RoI head three times, each on the boxes of the one before and with a higher IoU to reach.

Letters: N images, P proposals of one image, R regions of the batch, T stages, K classes, C logits a region, S side of
the pooled square.
"""

import copy
import warnings

import torch
from torch import Tensor, nn

from ...modeling.boxes import BoxCoder, clip
from ...modeling.criterion import Criterion
from ...modeling.defaults import ThresholdMatcher
from ...modeling.heads import MakesClassifier
from ...modeling.roi_heads import RoIHeads, Stage, check_matcher, image_of, predictor_of
from ...slots import Calibration
from ...structures import Matched, Objects


class CascadeRoIHeads(RoIHeads):
    """T RoI heads in a row; each regresses the boxes of the one before and learns from a higher IoU.

    Slot: roi_heads
    Imbalance: spatial_iou
    Home: faster_rcnn
    Source: Cai and Vasconcelos, 2018, arXiv 1712.00726, section 4; defaults of detectron2's implementation
    Neutral: ious=[0.5], box_weights=[[10, 10, 5, 5]], which is the RoI head with class_agnostic=True
    Differs: from the authors' code as detectron2 does: the gradient of the pooled features is scaled by 1/T where they
        weigh the losses 1, 1/2, 1/4; objects stay among the regions of later stages where they drop boxes of IoU 1;
        each stage scores its own regions where they score those of the last; each of the three is a setting
        (loss_weights and gradient_scale, keep_objects, score_last)

    With boxes b_0 of the RPN, head f_t and box code D_t of stage t = 1..T:

        b_t = clip(D_t(f_t(b_{t-1}), b_{t-1})),    foreground in stage t: IoU(b_{t-1}, object) >= ious[t]

    No gradient passes from one stage to another through b_t. Regions are sampled once, before the first stage.

    `criterion`, `box_head` and `region_features` are templates: each stage has a copy of them with parameters of its
    own, so whatever fills a slot of the RoI head acts in every stage. Two things of the copy are the stage's own. A
    ThresholdMatcher gets the stage's IoU (and keeps its ignored band and `best_for_each_object`); any other matcher
    stays as it is in all stages, with a warning, since `ious` then says nothing. A BoxCoder gets the stage's weights.
    The region_sampler acts before the first stage alone.

    Args:
        pooler, box_head, criterion, region_features, append_objects, classifier: see RoIHeads.
        ious: T limits, 0..1; the first must be the template's own, as the box weights of the first stage must be.
        box_weights: T times the four weights of the box code, rising as the errors that are left fall.
        loss_weights: T factors of each stage's losses; None for all 1. The authors: [1, 0.5, 0.25].
        gradient_scale: factor of the gradient that goes into the pooled features; None for 1/T. The authors: 1.
        keep_objects: False: a region that is an object (IoU 1) leaves before the second stage, as with the authors.
        score_last: False: the score is the mean of what each stage says of its own regions. True, as the authors do:
            of what all heads say of the last stage's regions.

    Losses carry the stage, "loss_cls_stage0"; stats of the first stage are "roi/..." like those of one RoI head, the
    later ones' "roi_stage1/..."; "above_0.7" is the share of a stage's regions that overlap an object so far.

    Raises:
        ValueError: lists of different length, or a template that contradicts the first stage.

    Example:
        >>> from imbdet.config import instantiate, load_config
        >>> cfg = load_config("baselines/faster_rcnn_shapes", remedies=["cascade_rcnn"])
        >>> cfg.model.num_classes = 3
        >>> heads = instantiate(cfg.model).roi_heads
        >>> [stage.criterion.matcher.foreground for stage in heads.stages]
        [0.5, 0.6, 0.7]
    """

    def __init__(
        self,
        pooler,
        box_head,
        criterion: Criterion,
        region_features=None,
        append_objects: bool = True,
        ious=(0.5, 0.6, 0.7),
        box_weights=((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        loss_weights=None,
        gradient_scale: float | None = None,
        keep_objects: bool = True,
        score_last: bool = False,
        classifier: MakesClassifier | None = None,
    ):
        super().__init__(pooler, None, None, True, None, append_objects, classifier)
        count = len(ious)
        self.loss_weights = (1.0,) * count if loss_weights is None else tuple(loss_weights)
        if not 1 <= count == len(box_weights) == len(self.loss_weights):
            raise ValueError(
                f"each stage needs an IoU, four box weights and a loss weight; got {count} ious, {len(box_weights)} "
                f"box_weights, {len(self.loss_weights)} loss_weights"
            )
        _check_first(criterion, ious[0], box_weights[0])
        self.gradient_scale = 1 / count if gradient_scale is None else gradient_scale
        self.keep_objects = keep_objects
        self.score_last = score_last
        # copied together: what two parts of a stage share stays shared within the stage
        copies = [copy.deepcopy((box_head, criterion, region_features)) for _ in range(count)]
        self.box_head = nn.ModuleList(part[0] for part in copies)
        self.criterion = nn.ModuleList(part[1] for part in copies)
        changes = [part[2] for part in copies]
        self.region_features = nn.ModuleList(changes) if isinstance(region_features, nn.Module) else changes
        for one, iou, weights in zip(self.criterion, ious, box_weights, strict=True):
            _set_stage(one, iou, weights)

    def build(self, neck: nn.Module) -> None:
        self.pooler.build(neck.strides)
        self.box_predictor = nn.ModuleList()
        for head, criterion, change in zip(self.box_head, self.criterion, self.region_features, strict=True):
            head.build(neck.channels, self.pooler.size)
            check_matcher(criterion)
            criterion.build(neck.strides)
            self.box_predictor.append(predictor_of(head, criterion, True, self.classifier))
            if change is not None:
                change.build(neck.channels, self.pooler.size)

    @property
    def stages(self) -> list[Stage]:
        parts = (self.box_head, self.box_predictor, self.criterion, self.region_features)
        return [Stage(*one) for one in zip(*parts, strict=True)]

    @property
    def stage(self) -> Stage:
        """The first: its criterion matches and samples the proposals."""
        return self.stages[0]

    def forward(self, features: dict[str, Tensor], boxes: Tensor, valid: Tensor, objects: Objects, sizes: Tensor):
        """Map features by level, proposals (N, P, 4) with valid (N, P), objects, sizes (N, 2) -> losses, stats."""
        with torch.no_grad():
            matched, stats = self.sample(boxes, valid, objects)
        losses, stats = {}, {f"roi/{name}": value for name, value in stats.items()}
        allowed = matched.considered
        for t, stage in enumerate(self.stages):
            pooled = ScaleGradient.apply(self.pooler(features, matched.boxes, matched.images), self.gradient_scale)
            own, more, (_, deltas) = stage.losses(pooled, matched)
            losses.update({f"{name}_stage{t}": self.loss_weights[t] * value for name, value in own.items()})
            more = {**more, "above_0.7": _share(matched.iou >= 0.7, matched.considered)}
            prefix = f"roi_stage{t}" if t else "roi"
            stats.update({f"{prefix}/{name}": value for name, value in more.items()})
            if t + 1 < len(self.loss_weights):
                if t == 0 and not self.keep_objects:
                    allowed = allowed & (matched.iou < 1)
                matched, allowed = self.next_regions(t, deltas, matched, allowed, objects, sizes)
        return losses, stats

    def balance_points(self, neck: nn.Module) -> dict[str, tuple[str, str, list[nn.Parameter]]]:
        """Return one for each stage."""
        return {
            f"stage{t}": (*(f"{name}_stage{t}" for name in stage.criterion.names), stage.box_head.last_layer())
            for t, stage in enumerate(self.stages)
        }

    @torch.no_grad()
    def next_regions(
        self, t: int, deltas: Tensor, matched: Matched, allowed: Tensor, objects: Objects, sizes: Tensor
    ) -> tuple[Matched, Tensor]:
        """Map deltas (R, 1, 4 + V) of stage t, its regions, allowed (R,) -> those of stage t + 1, allowed.

        The number of regions stays: one that was regressed to nothing is not allowed, and so ignored, from here on.
        """
        boxes = self.stages[t].criterion.boxes(deltas[:, 0].float(), matched.boxes)
        boxes = clip(boxes.view(matched.num_images, -1, 4), sizes)
        allowed = allowed & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1).view(-1)
        levels = self.pooler.assign(boxes.flatten(0, 1)).view(boxes.shape[:2])
        criterion = self.stages[t + 1].criterion
        return criterion.match(boxes, levels, objects, allowed=allowed.view(boxes.shape[:2])), allowed

    def predict(
        self, features: dict[str, Tensor], boxes: Tensor, sizes: Tensor, calibration: Calibration | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map proposals (N, P, 4), sizes (N, 2) -> scores (N, P, K), boxes (N, P, 1, 4) and what stands beside them."""
        n, p = boxes.shape[:2]
        images, scores = image_of(boxes), []
        for stage in self.stages:
            flat = boxes.flatten(0, 1)
            pooled = self.pooler(features, flat, images)
            logits, deltas = stage.head(pooled)
            scores.append(stage.criterion.scores(logits, calibration))
            refined = stage.criterion.decode(deltas[:, 0].float(), flat).view(n, p, -1)
            boxes = clip(refined[..., :4], sizes)
        if self.score_last:
            scores = [stage.criterion.scores(stage.head(pooled)[0], calibration) for stage in self.stages]
        return torch.stack(scores).mean(dim=0).view(n, p, -1), refined.unsqueeze(2)


class ScaleGradient(torch.autograd.Function):
    """`ScaleGradient.apply(x, scale)` is x; its gradient is multiplied by `scale`."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * ctx.scale, None


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """Masks (R,), (R,) -> how much of `whole` is in `part`, a scalar."""
    return (part & whole).sum() / whole.sum().clamp(min=1)


def _set_stage(criterion: Criterion, iou: float, weights) -> None:
    """Give a copy of the template what is the stage's own."""
    matcher, coder = criterion.matcher, criterion.box_coder
    if type(matcher) is ThresholdMatcher:
        band = matcher.foreground - matcher.background
        criterion.matcher = ThresholdMatcher(iou, max(0.0, iou - band), matcher.best_for_each_object)
    if isinstance(coder, BoxCoder):
        coder.weights = type(coder)(weights).weights


def _check_first(criterion: Criterion, iou: float, weights) -> None:
    """The template is the first stage, so it must not say something else; a matcher without `ious` is told of."""
    matcher, coder = criterion.matcher, criterion.box_coder
    if type(matcher) is not ThresholdMatcher:
        warnings.warn(
            f"the cascade's ious are not used: {type(matcher).__name__} matches in every stage as it is", stacklevel=3
        )
    elif matcher.foreground != iou:
        raise ValueError(
            f"roi_heads.criterion.matcher.foreground is {matcher.foreground}, the first of roi_heads.ious is {iou}; "
            "set both to the same IoU"
        )
    if isinstance(coder, BoxCoder) and coder.weights != tuple(float(w) for w in weights):
        raise ValueError(
            f"roi_heads.criterion.box_coder.weights are {coder.weights}, the first of roi_heads.box_weights are "
            f"{tuple(weights)}; set both to the same"
        )
