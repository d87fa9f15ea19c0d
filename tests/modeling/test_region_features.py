"""A chain of fillers: each on what the one before made, and each may settle."""

import torch
from torch import nn

from imbdet.modeling.defaults import Chain
from imbdet.slots import RegionFeatures


class Add(nn.Module, RegionFeatures):
    def __init__(self, amount):
        super().__init__()
        self.amount, self.built = amount, None

    def build(self, channels, size):
        self.built = (channels, size)

    def forward(self, features, matched, head):
        return 2 * features + self.amount, {f"{self.amount}/mean": features.mean()}

    def settle(self, losses, logits, matched):
        return {**losses, f"loss_{self.amount}": logits.sum()}, {f"{self.amount}/settled": logits.mean()}


class Double(nn.Module, RegionFeatures):
    """Has the call and nothing else."""

    def forward(self, features, matched, head):
        return 2 * features, {}


def test_order_and_stats():
    """((x * 2 + 1) * 2) * 2 + 3 with x = 1 is 15."""
    chain = Chain([Add(1), Double(), Add(3)])
    chain.build(8, 7)
    assert [getattr(part, "built", None) for part in chain.parts] == [(8, 7), None, (8, 7)]
    features, stats = chain(torch.ones(2, 1, 1, 1), None, None)
    assert (features == 15).all() and stats == {"1/mean": 1, "3/mean": 6}
    losses, stats = chain.settle({"loss_cls": 0}, torch.ones(2), None)
    assert losses == {"loss_cls": 0, "loss_1": 2, "loss_3": 2} and stats == {"1/settled": 1, "3/settled": 1}
