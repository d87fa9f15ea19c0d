"""The second stage of Faster R-CNN: regions are sampled, pooled, classified and regressed once more.

Letters: N images, P proposals of one image, R regions of the batch, K classes, C logits a region, S side of the pooled
square, V values beside the deltas (0 for most regressions).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..slots import Calibration, Head, Matcher, RegionFeatures, Stats
from ..structures import Matched, Objects
from .criterion import Criterion
from .defaults import compress
from .heads import BoxHead, BoxPredictor, MakesClassifier
from .necks import FPN
from .rest import at_rest


@dataclass
class Stage(Head):
    """One head with what it learns from. Its modules belong to the RoIHeads, whose state dict names them."""

    box_head: Any
    box_predictor: Any
    criterion: Criterion
    region_features: RegionFeatures | None = None

    def head(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Map pooled (R, C, S, S) -> logits (R, C), deltas (R, K or 1, 4 + V)."""
        return self.box_predictor(self.box_head(pooled))

    def __call__(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(pooled)

    def fixed(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Apply `head` with its weights as constants: the gradient reaches `pooled` only."""
        with at_rest([*self.box_head.modules(), *self.box_predictor.modules()]):
            return self.head(pooled)

    def scores(self, logits: Tensor) -> Tensor:
        """Map logits (R, C) -> (R, K)."""
        return self.criterion.scores(logits)

    def losses(self, pooled: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict, tuple[Tensor, Tensor]]:
        """Map pooled features of the matched regions -> losses, stats, the head's (logits, deltas)."""
        change = self.region_features
        stats: Stats = {}
        if change is not None:
            pooled, stats = change(pooled, matched, self)
        outputs = logits, deltas = self.head(pooled)
        losses, more = self.criterion(logits, of_class(deltas, matched.labels), matched)
        stats = {**stats, **more}
        if change is not None:
            losses, more = change.settle(losses, logits, matched)
            stats.update(more)
        return losses, stats, outputs


class RoIHeads(nn.Module):
    """Match, sample, pool, `region_features`, box head, predictor, criterion.

    Args:
        pooler: regions of a pyramid -> (R, C, S, S). box_head: those -> (R, channels). criterion: the Criterion of
            this stage; its classification says how many logits the predictor has.
        class_agnostic: one set of deltas for all classes instead of K.
        region_features: the slot of that name, in training only; None leaves the features alone.
        append_objects: the objects themselves join the proposals in training, so that there is always foreground.
        classifier: the slot of that name, (channels, logits) -> the last layer; None makes it `Linear`.

    thresholds: whether `predict` itself sets class scores up to the detector's threshold to 0, since what it returns
        are no longer class scores.
    """

    thresholds = False
    # one of each, or, in a cascade, one for each stage
    box_head: Any
    box_predictor: Any
    criterion: Any
    region_features: Any

    def __init__(
        self,
        pooler,
        box_head,
        criterion: Criterion | None,
        class_agnostic: bool = False,
        region_features: RegionFeatures | None = None,
        append_objects: bool = True,
        classifier: MakesClassifier | None = None,
    ):
        super().__init__()
        self.pooler = pooler
        self.box_head = box_head
        self.criterion = criterion
        self.region_features = region_features
        self.append_objects = append_objects
        self.class_agnostic = class_agnostic
        self.classifier = classifier

    def build(self, neck: FPN) -> None:
        """Make the layers that fit the neck and the classification's logits."""
        self.pooler.build(neck.strides)
        self.box_head.build(neck.channels, self.pooler.size)
        check_matcher(self.criterion)
        self.criterion.build(neck.strides)
        self.box_predictor = predictor_of(self.box_head, self.criterion, self.class_agnostic, self.classifier)
        if self.region_features is not None:
            self.region_features.build(neck.channels, self.pooler.size)

    @property
    def stage(self) -> Stage:
        return Stage(self.box_head, self.box_predictor, self.criterion, self.region_features)

    def forward(
        self, features: dict[str, Tensor], boxes: Tensor, valid: Tensor, objects: Objects, sizes: Tensor
    ) -> tuple[dict[str, Tensor], Stats]:
        """Map features by level, proposals (N, P, 4) with valid (N, P), objects -> losses, stats.

        sizes (N, 2) height and width of the images are for heads that make boxes of their own.
        """
        with torch.no_grad():
            matched, stats = self.sample(boxes, valid, objects)
        losses, more, _ = self.stage.losses(self.pooler(features, matched.boxes, matched.images), matched)
        return losses, {f"roi/{k}": v for k, v in {**stats, **more}.items()}

    def balance_points(self, neck: nn.Module) -> dict[str, tuple[str, str, list[nn.Parameter]]]:
        """See `Detector.balance_points`: the last layer of the box head."""
        cls, reg = self.criterion.names
        return {"": (cls, reg, self.box_head.last_layer() or list(neck.parameters()))}

    def sample(self, boxes: Tensor, valid: Tensor, objects: Objects) -> tuple[Matched, dict]:
        """Map proposals (N, P, 4), valid (N, P) -> the matched regions that take part, and some ignored ones to fill
        the shape.
        """
        if self.append_objects:
            boxes, valid = torch.cat((boxes, objects.boxes), dim=1), torch.cat((valid, objects.valid), dim=1)
        levels = self.pooler.assign(boxes.flatten(0, 1)).view(valid.shape)
        criterion = self.stage.criterion
        matched, stats = criterion.sample(criterion.match(boxes, levels, objects, allowed=valid))
        index = compress(matched.considered, matched.num_images, criterion.region_sampler.per_image)
        return (matched if index is None else matched.take(index[0])), stats

    def predict(
        self,
        features: dict[str, Tensor],
        boxes: Tensor,
        sizes: Tensor,
        calibration: Calibration | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map proposals (N, P, 4), sizes (N, 2) as in `forward` -> scores (N, P, K), boxes (N, P, K or 1, 4 and more,
        see `Criterion.decode`).
        """
        n, p = boxes.shape[:2]
        flat = boxes.flatten(0, 1)
        logits, deltas = self.stage.head(self.pooler(features, flat, image_of(boxes)))
        scores = self.criterion.scores(logits, calibration)
        refined = self.criterion.decode(deltas.float(), flat.unsqueeze(1))  # boxes, and what stands beside them
        return scores.view(n, p, -1), refined.view(n, p, *refined.shape[1:])


def check_matcher(criterion: Criterion) -> None:
    """Raises ValueError if the matcher looks at predictions, which a stage that samples first makes afterwards."""
    kind = type(criterion.matcher)
    if kind.rematch is not Matcher.rematch:
        raise ValueError(
            f"matcher {kind.__name__} looks at predictions, and RoI heads match once, before they predict: "
            "it acts in a dense head (model.criterion) or in the RPN (model.rpn.criterion)"
        )


def predictor_of(
    box_head: BoxHead, criterion: Criterion, class_agnostic: bool, classifier: MakesClassifier | None = None
) -> BoxPredictor:
    """Return the last layers that fit a box head and what the criterion's classification and regression ask for."""
    k, c, r = criterion.num_classes, criterion.classification, criterion.regression
    sets, outputs = 1 if class_agnostic else k, (r.extra_values, r.num_values)
    return BoxPredictor(box_head.channels, sets, c.num_logits(k), c.initial_bias(k), *outputs, classifier)


def image_of(boxes: Tensor) -> Tensor:
    """Map boxes (N, P, 4) -> image of each, (N*P,)."""
    n, p = boxes.shape[:2]
    return torch.arange(n, device=boxes.device).repeat_interleave(p, output_size=n * p)


def of_class(deltas: Tensor, labels: Tensor) -> Tensor:
    """Map deltas (R, K or 1, V), labels (R,) -> (R, V): those of the region's own class; of any class where it has
    none.
    """
    if deltas.shape[1] == 1:
        return deltas.squeeze(1)
    own = torch.where((labels >= 0) & (labels < deltas.shape[1]), labels, 0)
    return deltas.gather(1, own.view(-1, 1, 1).expand(-1, 1, deltas.shape[2])).squeeze(1)
