"""Objectness softmax: whether there is an object and which class it is are two questions with logits of their own.

Letters: R regions, K classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ...slots import Classification
from ...structures import Matched


class ObjectnessSoftmax(nn.Module, Classification):
    """Cross entropy over the classes on foreground alone, and a second one of object against background on all regions.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn alone; both parts are divided by the regions that were sampled, of which dense heads have none
    Source: Wang et al., 2021, arXiv 2008.10032, section 3.4, without the
        re-weighting: what Seesaw loss is to be compared with
    Neutral: none; it is the baseline of `seesaw`
    Differs: nothing

    K class logits and two of objectness, object first. With N the sampled regions, both losses are divided by N:

        L = CE(softmax(z_classes), y) on foreground + CE(softmax(z_object, z_background)) on all
        score_c = softmax(z_classes)_c P(object);   P(background) is the rest to 1

    Example:
        >>> import torch
        >>> ObjectnessSoftmax().scores(torch.zeros(1, 4)).tolist()
        [[0.25, 0.25]]
    """

    normalizer = None

    def num_logits(self, num_classes: int) -> int:
        return num_classes + 2

    def initial_bias(self, num_classes: int) -> float:
        return 0.0

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 2) -> (R,)."""
        classes, objectness = logits[:, :-2], logits[:, -2:]
        labels = matched.labels.where(matched.foreground, -1)
        adjusted, stats = self.adjust(classes, labels, matched)
        of_class = F.cross_entropy(adjusted, labels, ignore_index=-1, reduction="none")
        kind = matched.background.long().where(matched.considered, -1)
        return of_class + F.cross_entropy(objectness, kind, ignore_index=-1, reduction="none"), stats

    def adjust(self, classes: Tensor, labels: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map class logits (R, K), labels (R,) with -1 outside of the foreground -> logits (R, K), stats."""
        return classes, {}

    def scores(self, logits: Tensor) -> Tensor:
        return logits[..., :-2].softmax(dim=-1) * logits[..., -2:].softmax(dim=-1)[..., :1]

    def background(self, logits: Tensor) -> Tensor:
        return logits[..., -2:].softmax(dim=-1)[..., 1]
