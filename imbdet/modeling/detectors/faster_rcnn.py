"""Faster R-CNN with a feature pyramid (Ren et al., 2015; Lin et al., 2017): proposals, then RoI heads.

Letters: N images, P proposals of one image, K classes.
"""

import torch

from ..boxes import clip
from ..nms import PAIRS, pairwise_nms
from .base import Detector


class FasterRCNN(Detector):
    """The detector; what it learns from is `rpn.criterion` and `roi_heads.criterion`.

    Args:
        rpn: the proposals slot. roi_heads: the second stage. For the others see Detector.
    """

    def __init__(self, rpn, roi_heads, **common):
        super().__init__(**common)
        self.rpn = rpn
        self.roi_heads = roi_heads
        rpn.build(self.neck)
        roi_heads.build(self.neck)

    def balance_points(self):
        return self.roi_heads.balance_points(self.neck)

    def losses(self, features, sizes, objects):
        boxes, valid, first, stats = self.rpn(features, sizes, objects)
        second, more = self.roi_heads(features, boxes, valid, objects, sizes)
        return {**first, **second}, {**stats, **more}

    def candidates(self, features, sizes):
        boxes, valid, _, _ = self.rpn(features, sizes)
        scores, refined = self.roi_heads.predict(features, boxes, sizes, self.calibration)
        n, p, k = scores.shape
        refined = refined.expand(n, p, k, -1).reshape(n, p * k, -1)
        refined = torch.cat((clip(refined[..., :4], sizes), refined[..., 4:]), dim=-1)
        labels = torch.arange(k, device=scores.device).expand(n, p, k).reshape(n, p * k)
        threshold = 0.0 if self.roi_heads.thresholds else self.score_threshold
        valid = (scores > threshold) & valid.unsqueeze(-1)
        return refined, scores.reshape(n, p * k), labels, valid.reshape(n, p * k)

    def suppress(self, boxes, scores, labels, valid):
        """Return every class has the same P boxes a picture, so few of them are compared as (N*K) groups, without a
        kernel.
        """
        n, k = len(boxes), self.num_classes
        p = boxes.shape[1] // k
        if n * k * p * p > PAIRS:
            return super().suppress(boxes, scores, labels, valid)
        order = scores.view(n, p, k).argsort(dim=1, descending=True)
        ranked = boxes.view(n, p, k, 4).gather(1, order.unsqueeze(-1).expand(-1, -1, -1, 4))
        real = valid.view(n, p, k).gather(1, order)
        groups = ranked.transpose(1, 2).reshape(n * k, p, 4), real.transpose(1, 2).reshape(n * k, p)
        keep = pairwise_nms(*groups, self.nms_threshold).view(n, k, p).transpose(1, 2)
        return torch.zeros_like(real).scatter(1, order, keep).view(n, p * k)
