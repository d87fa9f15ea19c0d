"""The second stage of Faster R-CNN: regions are sampled, pooled, classified and regressed once more.

Letters: N images, P proposals of one image, R regions of the batch, K classes, C logits a region, S side of the pooled
square.
"""

import torch
from torch import Tensor, nn

from ..structures import Matched, Objects
from .heads import BoxPredictor
from .region_sampling import compress


class RoIHeads(nn.Module):
    """Match, sample, pool, `region_features`, box head, predictor, criterion.

    Args:
        pooler: regions of a pyramid -> (R, C, S, S). box_head: those -> (R, channels). criterion: the Criterion of
            this stage; its classification says how many logits the predictor has.
        class_agnostic: one set of deltas for all classes instead of K.
        region_features: the slot of that name, in training only; None leaves the features alone.
        append_objects: the objects themselves join the proposals in training, so that there is always foreground.
    """

    def __init__(
        self,
        pooler,
        box_head,
        criterion,
        class_agnostic: bool = False,
        region_features=None,
        append_objects: bool = True,
    ):
        super().__init__()
        self.pooler = pooler
        self.box_head = box_head
        self.criterion = criterion
        self.region_features = region_features
        self.append_objects = append_objects
        self.class_agnostic = class_agnostic

    def build(self, neck: nn.Module) -> None:
        """Make the layers that fit the neck and the classification's logits."""
        self.pooler.build(neck.strides)
        self.box_head.build(neck.channels, self.pooler.size)
        k, c = self.criterion.num_classes, self.criterion.classification
        sets = 1 if self.class_agnostic else k
        self.box_predictor = BoxPredictor(self.box_head.channels, sets, c.num_logits(k), c.initial_bias(k))

    def forward(self, features: dict[str, Tensor], boxes: Tensor, valid: Tensor, objects: Objects) -> tuple[dict, dict]:
        """Maps by level, proposals (N, P, 4) with valid (N, P), objects -> losses, stats."""
        with torch.no_grad():
            matched, stats = self.sample(boxes, valid, objects)
        pooled = self.pooler(features, matched.boxes, matched.images)
        if self.region_features is not None:
            pooled, more = self.region_features(pooled, matched)
            stats = {**stats, **more}
        logits, deltas = self.box_predictor(self.box_head(pooled))
        losses, more = self.criterion(logits, _of_class(deltas, matched.labels), matched)
        return losses, {f"roi/{k}": v for k, v in {**stats, **more}.items()}

    def sample(self, boxes: Tensor, valid: Tensor, objects: Objects) -> tuple[Matched, dict]:
        """Proposals (N, P, 4), valid (N, P) -> the matched regions that take part, and some ignored ones to fill the
        shape.
        """
        if self.append_objects:
            boxes, valid = torch.cat((boxes, objects.boxes), dim=1), torch.cat((valid, objects.valid), dim=1)
        levels = self.pooler.assign(boxes.flatten(0, 1)).view(valid.shape)
        matched, stats = self.criterion.sample(self.criterion.match(boxes, levels, objects, allowed=valid))
        index = compress(matched.considered, matched.num_images, self.criterion.region_sampler.per_image)
        return (matched if index is None else matched.take(index[0])), stats

    def predict(self, features: dict[str, Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals (N, P, 4) -> scores (N, P, K), boxes (N, P, K or 1, 4)."""
        n, p = boxes.shape[:2]
        flat = boxes.flatten(0, 1)
        images = torch.arange(n, device=boxes.device).repeat_interleave(p, output_size=n * p)
        logits, deltas = self.box_predictor(self.box_head(self.pooler(features, flat, images)))
        scores = self.criterion.classification.scores(logits.float())
        refined = self.criterion.box_coder.decode(deltas.float(), flat.unsqueeze(1))
        return scores.view(n, p, -1), refined.view(n, p, -1, 4)


def _of_class(deltas: Tensor, labels: Tensor) -> Tensor:
    """deltas (R, K or 1, 4), labels (R,) -> (R, 4): those of the region's own class; of any class where it has none."""
    if deltas.shape[1] == 1:
        return deltas.squeeze(1)
    own = torch.where((labels >= 0) & (labels < deltas.shape[1]), labels, 0)
    return deltas.gather(1, own.view(-1, 1, 1).expand(-1, 1, 4)).squeeze(1)
