"""Several fillers of the region_features slot in one.

Letters: R regions of the batch, C channels, S side of the pooled square.
"""

from torch import Tensor, nn

from ..slots import RegionFeatures
from ..structures import Matched


class Chain(nn.Module, RegionFeatures):
    """Slot `region_features`: one after another, each on what the one before it made.

    Args:
        parts: fillers of the slot, first to last.
    """

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def build(self, channels: int, size: int) -> None:
        for part in self.parts:
            part.build(channels, size)

    def forward(self, features: Tensor, matched: Matched, head) -> tuple[Tensor, dict]:
        """(R, C, S, S) -> (R, C, S, S), stats of all."""
        stats: dict = {}
        for part in self.parts:
            features, more = part(features, matched, head)
            stats.update(more)
        return features, stats

    def settle(self, losses: dict[str, Tensor], logits: Tensor, matched: Matched) -> tuple[dict[str, Tensor], dict]:
        stats: dict = {}
        for part in self.parts:
            losses, more = part.settle(losses, logits, matched)
            stats.update(more)
        return losses, stats
