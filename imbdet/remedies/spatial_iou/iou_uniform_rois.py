"""IoU-uniform R-CNN: boxes are regressed, and their IoU predicted, by a head that learns from boxes of every IoU alike.

Letters: N images, P proposals and B generated boxes of one image, R regions of the batch, K classes, C logits a region,
V values beside the deltas.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.boxes import clip
from ...modeling.class_rows import by_class
from ...modeling.criterion import Criterion
from ...modeling.defaults import AllRegions, Considered, SmoothL1, ThresholdMatcher
from ...modeling.heads import EXTRA_STD, Linear, MakesClassifier
from ...modeling.rest import at_rest
from ...modeling.roi_heads import RoIHeads, Stage, check_matcher, image_of
from ...slots import Calibration, Classification, Regression, Weighting
from ...structures import Matched, Objects
from ._box_generator import MOST


class IoUUniformRoIHeads(RoIHeads):
    """Classifies the RPN's regions; regresses, and predicts the IoU of, boxes generated with uniform IoU.

    Slot: roi_heads
    Imbalance: spatial_iou
    Home: faster_rcnn
    Source: Zhu, Xie, Zhou, Wang, Zhang, 2019, arXiv 1912.05190, and the authors' code (settings, bin weights, scores)
    Neutral: generator=None, iou_branch=False, separate_head=False, which is the RoI head with class_agnostic=True
    Differs: boxes are exactly uniform in IoU (the authors' sampler, which is not, is the setting JitteredBoxes); their
        number is limited, by default to the sampled regions, 64 an image on shapes, where theirs is 64 an object; the
        predicted IoU is limited to 0..1; a regression remedy takes the place of smooth L1; the IoU output starts at
        0.75, the mean of what it learns

    Three branches: classification learns from the regions of the RPN as in Faster R-CNN. Two fully connected layers of
    their own carry the other two, which learn from generated boxes b of each object g alone, u = IoU(b, g):

        loss_box_reg = mean over boxes of w(u) regression(b) / 4,    w = 1, 1.5, 2, 3 from IoU 0.5, 0.6, 0.7, 0.8 on
        loss_iou     = mean over boxes of smooth L1(prediction - u), beta 0.5

    The mean over boxes and their four deltas is the authors'. It is not the RoI head's sum over foreground divided by
    all sampled regions, of which a quarter at most are foreground: here all are, and the division by 4 offsets that.

    At test: boxes = regression(regions); the regions are pooled again **at these boxes** for the prediction of their
    IoU, since features of the old place know nothing of the new box; score = class score x IoU. The threshold is for
    the class score, before the product.

    The weights w balance smooth L1 of beta 1, whose gradient shrinks with the error: its mean over the boxes of a bin
    times w is 0.72, 0.96, 0.97 and, up to IoU 0.9, 0.86 at deltas of 0. With L1, whose gradient does not shrink, these
    are the weights themselves.

    `criterion` serves the classification with all of its slots; a copy of `criterion.regression` serves the generated
    boxes where a remedy fills it, else `regression`; `weighting` and `region_features` do not act on them. On the RPN's
    regions the deltas of the branch are known to the criterion, without gradient.

    Args:
        pooler, box_head, criterion, region_features, append_objects, classifier: see RoIHeads. box_head is the template
            of both.
        generator: UniformBoxes or JitteredBoxes (`_box_generator.py`); None regresses the RPN's foreground by the
            criterion's own rule, and its IoU is what the IoU branch learns.
        per_image: boxes an image, up to 4096; None for as many as the region_sampler keeps (512 if it keeps all).
        iou_branch: False: no prediction of IoU, the class score is the score.
        separate_head: False: one pair of fully connected layers for all branches.
        bin_weights: w from IoU 0.5, 0.6, 0.7, 0.8 on; None for 1.
        iou_weight: factor of loss_iou. beta: of its smooth L1.
        regression: of the generated boxes, in place of the detector's own `SmoothL1`; None takes the detector's.
        score_threshold: class scores up to it become 0; the detector then keeps what is above 0.

    Raises:
        ValueError: a number of boxes outside 1..4096, or not four weights.

    Example:
        >>> from imbdet.config import instantiate, load_config
        >>> cfg = load_config("baselines/faster_rcnn_shapes", remedies=["iou_uniform_rois"])
        >>> cfg.model.num_classes = 3
        >>> heads = instantiate(cfg.model).roi_heads
        >>> heads.branch_head is not heads.box_head, heads.per_image
        (True, 64)
    """

    thresholds = True

    def __init__(
        self,
        pooler,
        box_head,
        criterion: Criterion,
        region_features=None,
        append_objects: bool = True,
        generator=None,
        per_image: int | None = None,
        iou_branch: bool = True,
        separate_head: bool = True,
        bin_weights=(1.0, 1.5, 2.0, 3.0),
        iou_weight: float = 1.0,
        beta: float = 0.5,
        score_threshold: float = 0.05,
        regression: Regression | None = None,
        classifier: MakesClassifier | None = None,
    ):
        super().__init__(pooler, box_head, criterion, True, region_features, append_objects, classifier)
        self.generator = generator
        self.per_image = per_image or criterion.region_sampler.per_image or 512
        if not 1 <= self.per_image <= MOST and generator is not None:
            raise ValueError(f"generated boxes an image must be 1..{MOST}, got {self.per_image}")
        if regression is None or type(criterion.regression) is not SmoothL1:  # a remedy's, which stays
            regression = copy.deepcopy(criterion.regression)
        self.iou_branch = iou_branch
        self.score_threshold = score_threshold
        self.branch_head = copy.deepcopy(box_head) if separate_head else None
        self.branch_criterion = Criterion(
            matcher=ThresholdMatcher(0.0, 0.0),  # what a generated box overlaps most is its object, however little
            region_sampler=AllRegions(),
            classification=IoUPrediction(beta),
            regression=regression,
            normalizer=Considered(),
            box_coder=criterion.box_coder,
            num_classes=criterion.num_classes,
            weighting=None if bin_weights is None else IoUBinWeights(bin_weights),
            classification_weight=iou_weight,
            regression_weight=criterion.regression_weight / 4,
            names=("loss_iou", criterion.names[1]),
        )

    def build(self, neck: nn.Module) -> None:
        self.pooler.build(neck.strides)
        self.box_head.build(neck.channels, self.pooler.size)
        if self.branch_head is not None:
            self.branch_head.build(neck.channels, self.pooler.size)
        k, c, channels = self.criterion.num_classes, self.criterion.classification, self.box_head.channels
        r, layer = self.branch_criterion.regression, (self.classifier or Linear)(channels, c.num_logits(k))
        check_matcher(self.criterion)
        self.criterion.build(neck.strides)
        self.box_predictor = ClassPredictor(layer, c.initial_bias(k))
        self.branch_predictor = BranchPredictor(channels, r.extra_values, self.iou_branch, r.num_values)
        if self.region_features is not None:
            self.region_features.build(neck.channels, self.pooler.size)

    @property
    def branch(self) -> Stage:
        """Regression and prediction of IoU."""
        return Stage(self.branch_head or self.box_head, self.branch_predictor, self.branch_criterion)

    @property
    def stage(self) -> Stage:
        """Classification, with the deltas of the branch."""
        learns = self.generator is None
        return Branches(
            self.box_head, self.box_predictor, self.criterion, self.region_features, branch=self.branch, learns=learns
        )

    def forward(self, features: dict[str, Tensor], boxes: Tensor, valid: Tensor, objects: Objects, sizes: Tensor):
        """Map features by level, proposals (N, P, 4) with valid (N, P), objects, sizes (N, 2) -> losses, stats."""
        with torch.no_grad():
            matched, stats = self.sample(boxes, valid, objects)
        pooled = self.pooler(features, matched.boxes, matched.images)
        losses, more, _ = self.stage.losses(pooled, matched)
        stats = {f"roi/{name}": value for name, value in {**stats, **more}.items()}
        if self.generator is not None:
            with torch.no_grad():
                matched = self.generate(objects, sizes)
            own, more, _ = self.branch.losses(self.pooler(features, matched.boxes, matched.images), matched)
            stats.update({f"roi_generated/{name}": value for name, value in more.items()})
        elif self.iou_branch:
            own, _, _ = self.branch.losses(pooled, matched.ignore_all_but(matched.foreground))
            own = {"loss_iou": own["loss_iou"]}
        else:
            return losses, stats
        if not self.iou_branch:
            del own["loss_iou"]
        return {**losses, **own}, stats  # the regression of generated boxes takes the place of the RPN's regions'

    def balance_points(self, neck: nn.Module) -> dict[str, tuple[str, str, list[nn.Parameter]]]:
        """Return the neck, where the branches have layers of their own."""
        shared = [] if self.branch_head is not None else self.box_head.last_layer()
        return {"": (*self.criterion.names, shared or list(neck.parameters()))}

    def generate(self, objects: Objects, sizes: Tensor) -> Matched:
        """Return generated boxes with the objects that they were made for; one that overlaps another object more is
        ignored.
        """
        boxes, owner, valid = self.generator(objects, sizes, self.per_image)
        levels = self.pooler.assign(boxes.flatten(0, 1)).view(valid.shape)
        matched = self.branch_criterion.match(boxes, levels, objects, allowed=valid)
        n, m = objects.valid.shape
        flat = owner + torch.arange(n, device=owner.device).unsqueeze(1) * m
        return matched.ignore_all_but((matched.objects == flat.view(-1)) & (matched.iou > 0))

    def predict(
        self, features: dict[str, Tensor], boxes: Tensor, sizes: Tensor, calibration: Calibration | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map proposals (N, P, 4), sizes (N, 2) -> scores (N, P, K), boxes (N, P, 1, 4) and what stands beside them."""
        scores, refined = super().predict(features, boxes, sizes, calibration)
        scores = scores.where(scores > self.score_threshold, 0.0)
        if not self.iou_branch:
            return scores, refined
        places = clip(refined[:, :, 0, :4], sizes)
        iou, _ = self.branch.head(self.pooler(features, places.flatten(0, 1), image_of(places)))
        return scores * self.branch_criterion.classification.scores(iou.float()).view(*boxes.shape[:2], 1), refined


@dataclass
class Branches(Stage):
    """A stage whose deltas come from another head. learns: whether that head gets a gradient through them."""

    branch: Any = None
    learns: bool = True

    def head(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.box_head(pooled)
        own = hidden if self.branch.box_head is self.box_head else self.branch.box_head(pooled)
        _, deltas = self.branch.box_predictor(own)
        # not computed under no_grad: autocast would keep its copies of the weights, and these would not learn later
        return self.box_predictor(hidden), deltas if self.learns else deltas.detach()

    def fixed(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        with at_rest([*self.branch.box_head.modules(), *self.branch.box_predictor.modules()]):
            return super().fixed(pooled)


class ClassPredictor(nn.Module):
    """Logits of RoIs. Args: the layer of the slot `classifier`, its first bias."""

    def __init__(self, layer: Linear, bias: float | Tensor):
        super().__init__()
        self.cls_score = by_class(layer)
        layer.start(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, channels) -> (R, C)."""
        return self.cls_score(x)


class BranchPredictor(nn.Module):
    """Predicted IoU and one set of deltas for all classes.

    Args:
        channels: of the box head. extra: V. iou: False leaves the IoU out. values: what takes the place of the deltas.
    """

    def __init__(self, channels: int, extra: int, iou: bool, values: int = 4):
        super().__init__()
        self.bbox_pred = nn.Linear(channels, values)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.bbox_pred.bias)
        self.iou_pred = nn.Linear(channels, 1) if iou else None
        if self.iou_pred is not None:
            nn.init.normal_(self.iou_pred.weight, std=0.01)
            nn.init.constant_(self.iou_pred.bias, 0.75)
        self.bbox_extra = nn.Linear(channels, extra) if extra else None
        if self.bbox_extra is not None:
            nn.init.normal_(self.bbox_extra.weight, std=EXTRA_STD)
            nn.init.zeros_(self.bbox_extra.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, channels) -> IoU (R, 1), or 0 where there is none, and deltas (R, 1, 4 + V)."""
        deltas = self.bbox_pred(x)
        if self.bbox_extra is not None:
            deltas = torch.cat((deltas, self.bbox_extra(x)), dim=1)
        iou = x.new_zeros(len(x), 1) if self.iou_pred is None else self.iou_pred(x)
        return iou, deltas.unsqueeze(1)


class IoUPrediction(Classification):
    """In the place of a classification: one value a region, which learns the region's IoU with its object.

    Args:
        beta: where smooth L1 turns from a parabola into a line, in IoU.
    """

    normalizer = None

    def __init__(self, beta: float = 0.5):
        if beta <= 0:
            raise ValueError(f"beta must be positive, got {beta}")
        self.beta = beta

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        return F.smooth_l1_loss(logits[:, 0], matched.iou, reduction="none", beta=self.beta), {}

    def scores(self, logits: Tensor) -> Tensor:
        return logits.clamp(0, 1)


class IoUBinWeights(nn.Module, Weighting):
    """In the slot `weighting` of the branch: regression counts more from bin to bin of the region's IoU.

    Args:
        weights: four, from IoU 0.5, 0.6, 0.7 and 0.8 on; below 0.5 as from 0.5 on.
    """

    edges: Tensor
    weights: Tensor

    def __init__(self, weights):
        super().__init__()
        if len(weights) != 4:
            raise ValueError(f"bin_weights are four, from IoU 0.5, 0.6, 0.7 and 0.8 on; got {list(weights)}")
        self.register_buffer("edges", torch.tensor([0.6, 0.7, 0.8]), persistent=False)
        self.register_buffer("weights", torch.tensor([float(w) for w in weights]), persistent=False)

    def forward(self, classification: Tensor, regression: Tensor, matched: Matched):
        """Map (R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        bins = torch.bucketize(matched.iou, self.edges, right=True)
        return (torch.ones_like(classification), self.weights[bins]), {}
