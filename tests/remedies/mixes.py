"""What tests of remedies of the slot `mix` share: given pictures to draw from, and the stream with and without one."""

from itertools import islice

import numpy as np
import torch

from imbdet.data.loader import TrainLoader


class Given:
    """Draws the pictures in their order, or the one asked for; keeps count."""

    def __init__(self, *pairs, position=0):
        self.pairs, self.position, self.drawn = pairs, position, 0

    def __call__(self, rng, index=None):
        self.drawn += 1
        return self.pairs[(self.drawn - 1) % len(self.pairs) if index is None else index]


def picture(*boxes, value=0, size=(4, 4), labels=None):
    """A picture of one value, or of values that count from it, and its target; boxes as lists."""
    height, width = size
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.arange(len(boxes)) if labels is None else torch.tensor(labels, dtype=torch.int64)
    return image, {"boxes": boxes, "labels": labels}


def counted(*boxes, start=0, size=(4, 4), **more):
    """As `picture`, with the values start, start + 1, ... by rows."""
    image, target = picture(*boxes, size=size, **more)
    return image + (start + torch.arange(size[0] * size[1], dtype=torch.uint8)).view(size), target


def run(mix, pair, *others, seed=0, position=0):
    """(image, target) of one call; the arguments must stay as they were."""
    before = [(image.clone(), target["boxes"].clone()) for image, target in (pair, *others)]
    found = mix(*pair, Given(*(others or (pair,)), position=position), np.random.default_rng(seed))
    for (image, boxes), (now, target) in zip(before, (pair, *others), strict=True):
        assert torch.equal(image, now) and torch.equal(boxes, target["boxes"]), "changed in place"
    assert found[0].dtype == torch.uint8 and len(found[1]["boxes"]) == len(found[1]["labels"])
    return found


def is_the_stream_without(records, mix):
    """Whether a loader gives with this filler what it gives without one, to the last bit."""
    streams = []
    for filler in (mix, None):
        loader = TrainLoader(records, 3, num_workers=0, seed=2, aspect_ratio_grouping=False, mix=filler)
        streams.append([pair for batch in islice(loader.iterate(), 3) for pair in zip(*batch, strict=True)])
    return all(
        torch.equal(a, b) and torch.equal(s["boxes"], t["boxes"]) and torch.equal(s["labels"], t["labels"])
        for (a, s), (b, t) in zip(*streams, strict=True)
    )
