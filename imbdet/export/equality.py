"""Whether an exported detector finds what ours finds, picture by picture.

Letters: D detections.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..evaluation.inference import evaluating

BOX, SCORE = 0.1, 1e-3  #: largest differences of a pair: pixels a side; score


@dataclass
class Differences:
    """What `compare` saw. box, score: the largest differences within pairs. alone: detections without a partner."""

    pictures: int = 0
    detections: int = 0
    box: float = 0.0
    score: float = 0.0
    alone: int = 0

    @property
    def equal(self) -> bool:
        return self.alone == 0

    def __str__(self) -> str:
        return (
            f"{self.detections} detections in {self.pictures} pictures, {self.alone} without a partner; "
            f"largest differences {self.box:.1e} px, {self.score:.1e} in score"
        )


def compare(model: Any, call: Any, pictures: Iterable[Tensor], box: float = BOX, score: float = SCORE) -> Differences:
    """Our detector against an exported one on uint8 RGB pictures (3, H, W).

    Two detections are a pair if they have the same label, no side differs by more than `box` pixels and the scores by
    no more than `score`. Those whose score is within `score` of where a full list is cut off need no partner: which of
    them are kept is a matter of rounding.
    """
    seen, most = Differences(), int(model.max_detections)
    with evaluating(model):
        for image in pictures:
            ours = {name: value.cpu() for name, value in model([image])[0].items()}
            boxes, scores, labels = call(image)
            real = labels >= 0
            theirs = {"boxes": boxes[real], "scores": scores[real], "labels": labels[real]}
            cut = [float(one["scores"].min()) if len(one["scores"]) >= most else 0.0 for one in (ours, theirs)]
            floor = max(*cut, float(model.score_threshold)) + score
            seen.pictures += 1
            seen.detections += len(ours["scores"])
            for one, other in ((ours, theirs), (theirs, ours)):
                _count(seen, one, other, floor, box, score)
    return seen


def _count(seen: Differences, one: dict, other: dict, floor: float, box: float, score: float) -> None:
    """Add to `seen` what detections of `one` lack in `other`."""
    sides = (one["boxes"][:, None] - other["boxes"][None]).abs().amax(dim=2)
    apart = (one["scores"][:, None] - other["scores"][None]).abs()
    pair = (one["labels"][:, None] == other["labels"][None]) & (sides <= box) & (apart <= score)
    seen.alone += int(((one["scores"] > floor) & ~pair.any(dim=1)).sum())
    if pair.any():
        nearest = torch.where(pair, sides + apart, torch.inf).min(dim=1) if pair.shape[1] else None
        rows = pair.any(dim=1)
        index = nearest.indices[rows]
        seen.box = max(seen.box, float(sides[rows, index].max()))
        seen.score = max(seen.score, float(apart[rows, index].max()))
