"""One step of the Hierarchical Shot Detector: regress, look where the boxes went, classify what is seen there.

Letters: N images, A anchors of one image over all levels, R = N*A, L levels, G anchors a cell, C logits an anchor.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...modeling.anchors import flatten_levels
from ...modeling.boxes import BoxCoder
from ...modeling.criterion import Criterion
from ...modeling.defaults import AllRegions, Foreground, choose
from ...slots import Calibration, Classification, Matcher, Normalizer, Regression, Weighting
from ...structures import Matched, Objects
from ._hierarchical_shot_layers import Look, ShiftedConv


class BestBoxMatcher(Matcher):
    """Slot `matcher`: foreground from an IoU on, and each object's best region whatever its IoU; nothing is ignored.

    The best region of an object is matched to that object even if it overlaps another one more (Liu et al., 2016,
    arXiv 1512.02325, section 2.2), so every object that any region touches has a region of its own, unless two objects
    share their best one: the one that overlaps it more has it then.

    Args:
        foreground: IoU in 0..1.
    """

    def __init__(self, foreground: float = 0.5):
        if not 0 <= foreground <= 1:
            raise ValueError(f"foreground is an IoU in 0..1, got {foreground}")
        self.foreground = foreground

    def __call__(self, iou: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """iou (N, M, A), 0 for padded objects; valid (N, M) -> object (N, A), IoU (N, A), kind (N, A): 1 or 0."""
        best, index = iou.max(dim=1)
        claims = torch.arange(iou.shape[2], device=iou.device) == iou.argmax(dim=2, keepdim=True)
        own, owner = torch.where(claims, iou, 0.0).max(dim=1)
        claimed = own > 0  # an object that no region touches, or padding, takes none
        best, index = torch.where(claimed, own, best), torch.where(claimed, owner, index)
        return index, best, (claimed | (best >= self.foreground)).to(torch.int8)


def positives(matched: Matched, stand_in: int) -> Tensor:
    """Return foreground regions of each image, (N, 1) int64; `stand_in` where an image has none."""
    count = matched.foreground.view(matched.num_images, -1).sum(dim=1, keepdim=True)
    return torch.where(count == 0, stand_in, count)


class HardNegatives(Weighting):
    """Slot `weighting`: of the background, only what has the highest classification loss counts (Liu et al., 2016).

    Args:
        ratio: background regions of an image for each of its foreground, all but one region at most.
        stand_in: an image without foreground is treated as if it had that many.
    """

    def __init__(self, ratio: float = 3.0, stand_in: int = 15):
        if ratio < 0 or stand_in < 0:
            raise ValueError(f"ratio and stand_in must not be negative, got {ratio} and {stand_in}")
        self.ratio = ratio
        self.stand_in = stand_in

    def __call__(
        self, classification: Tensor, regression: Tensor, matched: Matched
    ) -> tuple[tuple[Tensor, Tensor], dict]:
        """Values (R,), (R,) -> weights 0 or 1 (R,), ones (R,); stats."""
        n = matched.num_images
        background, loss = matched.background.view(n, -1), classification.view(n, -1)
        count = (self.ratio * positives(matched, self.stand_in)).long()
        hard = choose(background, count, loss.shape[1] - 1, priority=loss).view(-1)
        weights = (hard | matched.foreground).to(classification.dtype)
        return (weights, torch.ones_like(regression)), {"negatives_per_image": hard.sum() / n}


class ForegroundOr(Normalizer):
    """Normalizer: the foreground regions of the batch, where an image without any counts as `stand_in`.

    Args:
        stand_in: as of HardNegatives, so that an image without objects weighs as much as others.
    """

    def __init__(self, stand_in: int = 15):
        if stand_in < 1:
            raise ValueError(f"stand_in must be at least 1, got {stand_in}")
        self.stand_in = stand_in

    def __call__(self, matched: Matched) -> Tensor:
        return positives(matched, self.stand_in).sum().float()


class _Silent(Classification, Regression):
    """Slots `classification` and `regression`, for a pass of the criterion that has only the other loss: zeros."""

    normalizer = None
    extra_values = 0

    def __call__(self, values: Tensor, matched: Matched, box_coder=None) -> tuple[Tensor, dict]:
        return values.new_zeros(len(matched)), {}


@dataclass
class Shot:
    """What a step says of all anchors: deltas (N, A, 4), logits (N, A, C), and L offsets, None without shift."""

    deltas: Tensor
    logits: Tensor
    offsets: list


class ShotStep(nn.Module):
    """Regression, then classification at the regressed boxes: two passes of the one criterion, each with its matcher.

    Args:
        regression_matcher: over the boxes that the step gets. classification_matcher: over those that it makes.
        box_coder: from the boxes that it gets to their objects.
        regression, classification: the slots of those names. weighting: of the classification; None for all ones.
        normalizer: of the classification; the regression is divided by its own foreground.
    """

    def __init__(
        self,
        regression_matcher,
        classification_matcher,
        box_coder: BoxCoder,
        regression,
        classification,
        weighting,
        normalizer,
    ):
        super().__init__()
        asked = regression.num_values + regression.extra_values
        if asked != 4:
            asks = f"{type(regression).__name__} asks for {asked} values"
            raise ValueError(f"the regression of a step has the four deltas alone, {asks}")
        self.box_coder = box_coder
        self.parts = {
            "reg": (regression_matcher, _Silent(), regression, Foreground(), None),
            "cls": (classification_matcher, classification, _Silent(), normalizer, weighting),
        }

    def build(self, number: int, num_classes: int, channels: int, anchors: int, levels: int, shift: bool) -> None:
        """Make the layers: of step `number` (from 1), for `anchors` a cell of `levels` maps with `channels`."""
        self.names = {part: f"{part}{number}" for part in self.parts}
        self.criteria: Any = nn.ModuleDict()
        for part, (matcher, classification, regression, normalizer, weighting) in self.parts.items():
            self.criteria[part] = Criterion(
                matcher,
                AllRegions(),
                classification,
                regression,
                normalizer,
                self.box_coder,
                num_classes,
                weighting,
                names=("loss_cls", "loss_reg"),
            )
        slot = self.classification
        self.num_classes, self.num_logits = num_classes, slot.num_logits(num_classes)
        logits, bias = anchors * self.num_logits, slot.initial_bias(num_classes)
        seen = 1 if number == 1 else anchors  # the first regression has no boxes yet to look at
        self.regress = nn.ModuleList(ShiftedConv(channels, 4 * anchors, seen) for _ in range(levels))
        self.classify = nn.ModuleList(ShiftedConv(channels, logits, anchors, bias) for _ in range(levels))
        self.look = nn.ModuleList(Look(anchors) for _ in range(levels if shift else 0))
        self.shift = shift

    @property
    def classification(self):
        return self.parts["cls"][1]

    def forward(self, coarse: list[Tensor], fine: list[Tensor], offsets: list) -> Shot:
        """Map L maps (N, C, H, W) to regress on, as many to classify on, L offsets of the step before or None ->
        Shot.
        """
        deltas = [layer(x, at) for layer, x, at in zip(self.regress, coarse, offsets, strict=True)]
        if self.shift:
            moved = [look(x) for look, x in zip(self.look, deltas, strict=True)]
            offsets = [new if old is None else old + new for old, new in zip(offsets, moved, strict=True)]
        logits = [layer(x, at) for layer, x, at in zip(self.classify, fine, offsets, strict=True)]
        return Shot(flatten_levels(deltas, 4), flatten_levels(logits, self.num_logits), offsets)

    def decode(self, shot: Shot, boxes: Tensor) -> Tensor:
        """Map the boxes that the step gets, (A, 4) or (N, A, 4), -> those that it makes, (N, A, 4), without
        gradient.
        """
        return self.box_coder.decode(shot.deltas.detach().float(), boxes)

    def scores(self, shot: Shot, calibration: Calibration | None = None) -> Tensor:
        """Return (N, A, K), K = 1 for objectness."""
        return self.criteria["cls"].scores(shot.logits, calibration)

    def losses(
        self, shot: Shot, before: Tensor, after: Tensor, levels: Tensor, objects: Objects, dismissed: Tensor | None
    ) -> tuple[dict[str, Tensor], dict]:
        """Return the two losses of a step.

        Args:
            before, after: (A, 4) or (N, A, 4) boxes whose IoU says what is regressed and what is classified.
            levels: (A,) of the boxes. objects: labels in 0..K-1.
            dismissed: (N, A) bool, what the step before takes for background: it is no foreground here, and as it is
                no background either, it is ignored.

        Returns:
            {"loss_reg1": ..., "loss_cls1": ...} with the number of the step, stats.
        """
        losses, stats = {}, {}
        outputs = {"reg": (shot.deltas, before), "cls": (shot.logits, after)}
        for part, (values, boxes) in outputs.items():
            criterion, name = self.criteria[part], self.names[part]
            with torch.no_grad():
                matched = criterion.match(boxes, levels, objects)
                if dismissed is not None:
                    matched = matched.ignore_all_but(~(matched.foreground & dismissed.flatten()))
            values = values.flatten(0, 1)
            nothing = values.new_zeros(len(values), 4)
            logits, deltas = (values, nothing) if part == "cls" else (nothing, values)
            found, more = criterion(logits, deltas, matched)
            losses[f"loss_{name}"] = found[f"loss_{part}"]
            stats.update({f"{name}/{key}": value for key, value in more.items()})
        return losses, stats
