"""Hierarchical Shot Detector: regress first, then classify what is seen at the regressed boxes; twice.

Letters: N images, A anchors of one image over all levels, K classes, C logits an anchor, D candidates of one image.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...modeling.class_rows import by_class
from ...modeling.detectors.base import Detector
from ._hierarchical_shot_layers import EnhancedPyramid, conv_norm
from ._hierarchical_shot_step import Shot


class HierarchicalShotDetector(Detector):
    """One-stage detector that labels its boxes after they were regressed, on features sampled where they went.

    Slot: dense_heads, proposals
    Imbalance: spatial_iou
    Home: retinanet; it is a dense detector
    Source: Cao, Pang, Han, Li, 2019, ICCV, "Hierarchical Shot Detector"; values from the authors' code
        (JialeCao001/HSD, 2019)
    Neutral: none, as it is a network of its own; shift=False is its control, which classifies before it regresses
    Differs: backbone, neck, pictures, training and test settings are the baseline's; anchors have one size a level, the
        geometric mean of the baseline's, and are not cut to the picture; a foreground region that the objectness
        dismisses is ignored, where the authors' code mines it as a negative with the label of its class; an image
        without foreground is mined and counted as if it had 15 positives, where theirs takes nothing of it or, if the
        whole batch has none, 45 negatives divided by 1; an object that no box touches takes no box, where theirs takes
        the first; the convolutions of the heads have a bias and start at a deviation of 0.01; batch norm forgets at
        0.1 instead of 0.01, for short trainings; the attention leaves out padding; decoded sides grow by at most
        1000 / 16, as in all detectors here, where theirs have no limit; the maps of the pyramid have mixed levels
        already

    With b0 the anchors, IoU(b) that with the objects, and x the maps of the pyramid:

        step 1   d1 = conv(x),          b1 = decode(d1, b0),    regressed where IoU(b0) >= 0.5
                 o1 = look(d1),         c1 = conv(x at o1),     object or not, object where IoU(b1) >= 0.6
        step 2   d2 = conv(x' at o1),   b2 = decode(d2, b1),    regressed where IoU(b1) >= 0.5
                 o2 = o1 + look(d2),    c2 = conv(x' at o2),    K classes, foreground where IoU(b2) >= 0.7

    The best box of each object is foreground whatever its IoU. In step 2, foreground needs a probability of c1 above
    0.01, too. At test the scores of c2 are 0 where that of c1 is at most 0.01, and the boxes are b2. x' are enhanced
    maps; deltas have half the variances in step 2. Losses: smooth L1 and cross entropy with three hard negatives a
    positive, each sum divided by its own positives.

    Args:
        anchors: AnchorGrid over all of the neck's levels.
        first, second: the ShotSteps; without the second, the first one tells the classes, on x'.
        shift: False is the control on the same network: features are sampled at the anchors' cells, and labels come
            from the boxes before regression.
        enhance: False takes x for x'.
        objectness: probability of the first step, in 0..1, up to which a box is background for the second.
        max_candidates: best scores of an image that go on to suppression.
        For the others see Detector.

    Example:
        >>> from imbdet.config import instantiate, load_config
        >>> cfg = load_config("baselines/retinanet_shapes", ["hierarchical_shot"], ["data.train.num_images=10"])
        >>> model = instantiate(cfg.model)
        >>> [step.classification.num_logits(step.num_classes) for step in model.steps]  # object or not, 10 classes + 1
        [2, 11]
    """

    def __init__(
        self,
        anchors,
        first,
        second=None,
        *,
        shift: bool = True,
        enhance: bool = True,
        objectness: float = 0.01,
        max_candidates: int = 1000,
        **common,
    ):
        super().__init__(**common)
        if not 0 <= objectness <= 1:
            raise ValueError(f"objectness is a probability in 0..1, got {objectness}")
        self.anchors = anchors
        anchors.build(self.neck.strides)
        channels, strides = self.neck.channels, tuple(self.neck.strides.values())
        self.stem: Any = nn.ModuleList(conv_norm(channels, channels) for _ in strides)
        self.enhanced: Any = EnhancedPyramid(channels, strides) if enhance else None
        steps = [first] if second is None else [first, second]
        self.steps: Any = nn.ModuleList(steps)
        for number, step in enumerate(steps, start=1):
            classes = self.num_classes if number == len(steps) else 1
            step.build(number, classes, channels, anchors.per_cell, len(strides), shift)
        for layer in steps[-1].classify:  # an earlier step tells objects from background, whatever their class
            by_class(layer, groups=anchors.per_cell)
        self.shift = shift
        self.objectness = objectness
        self.max_candidates = max_candidates

    def shots(self, features: dict[str, Tensor], sizes: Tensor) -> list[Shot]:
        """Maps of the neck by level, sizes (N, 2) of the pictures -> what each step says."""
        maps = [stem(x) for stem, x in zip(self.stem, features.values(), strict=True)]
        better = maps if self.enhanced is None else self.enhanced(maps, sizes)
        first, *more = self.steps
        shots = [first(maps, maps if more else better, [None] * len(maps))]
        for step in more:
            shots.append(step(better, better, shots[-1].offsets))
        return shots

    def balance_points(self):
        """The stem, for each step."""
        shared = list(self.stem.parameters())
        return {
            f"step{n}": (f"loss_{step.names['cls']}", f"loss_{step.names['reg']}", shared)
            for n, step in enumerate(self.steps, start=1)
        }

    def losses(self, features, sizes, objects):
        before, levels = self.anchors(list(features.values()))
        anything = replace(objects, labels=torch.zeros_like(objects.labels))
        losses, stats, dismissed = {}, {}, None
        for step, shot in zip(self.steps, self.shots(features, sizes), strict=True):
            last = step is self.steps[-1]
            with torch.no_grad():
                after = step.decode(shot, before)
            labeled = after if self.shift else before
            more = step.losses(shot, before, labeled, levels, objects if last else anything, dismissed)
            losses.update(more[0])
            stats.update(more[1])
            with torch.no_grad():
                if self.shift:
                    stats[f"{step.names['cls']}/shift"] = _mean_size(shot.offsets)
                if not last:
                    before, dismissed = after, step.scores(shot).squeeze(2) <= self.objectness
        return losses, stats

    def candidates(self, features, sizes):
        boxes, _ = self.anchors(list(features.values()))
        dismissed = None
        for step, shot in zip(self.steps, self.shots(features, sizes), strict=True):
            last = step is self.steps[-1]
            boxes, scores = step.decode(shot, boxes), step.scores(shot, self.calibration if last else None)
            if not last:
                dismissed = scores <= self.objectness
        if dismissed is not None:
            scores = scores.masked_fill(dismissed, 0.0)
        k = scores.shape[2]
        scores, index = self.top(scores.flatten(1), self.max_candidates)
        rows = torch.div(index, k, rounding_mode="floor").unsqueeze(-1).expand(-1, -1, 4)
        return boxes.gather(1, rows), scores, index % k, scores > self.score_threshold


def _mean_size(offsets: list[Tensor]) -> Any:
    """Mean of the absolute offsets over all levels' taps, in cells."""
    return sum(x.abs().sum() for x in offsets) / sum(x.numel() for x in offsets)
