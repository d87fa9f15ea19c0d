"""Faster R-CNN with a feature pyramid (Ren et al., 2015; Lin et al., 2017): proposals, then RoI heads.

Letters: N images, P proposals of one image, K classes.
"""

import torch

from ..boxes import clip
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

    def losses(self, features, sizes, objects):
        boxes, valid, first, stats = self.rpn(features, sizes, objects)
        second, more = self.roi_heads(features, boxes, valid, objects)
        return {**first, **second}, {**stats, **more}

    def candidates(self, features, sizes):
        boxes, valid, _, _ = self.rpn(features, sizes)
        scores, refined = self.roi_heads.predict(features, boxes)
        scores = self.calibrate(scores)
        n, p, k = scores.shape
        refined = clip(refined.expand(n, p, k, 4).reshape(n, p * k, 4), sizes)
        labels = torch.arange(k, device=scores.device).expand(n, p, k).reshape(n, p * k)
        valid = (scores > self.score_threshold) & valid.unsqueeze(-1)
        return refined, scores.reshape(n, p * k), labels, valid.reshape(n, p * k)
