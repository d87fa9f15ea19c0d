"""Masks over regions, to be looked at.

Letters: F regions, C channels, S side of the pooled square.
"""

import torch
from torch import Tensor

SHOWN, CELL, GAP = 16, 8, 4  #: regions in a picture; pixels of a cell and between regions
HIDDEN = (220, 60, 40)


def draw_masks(features: Tensor, hidden: Tensor, kept: Tensor) -> Tensor:
    """Return the strength of each region's features in gray, hidden cells in red.

    Args:
        features: (F, C, S, S). hidden: (F, S * S), 1 where hidden. kept: (F,) bool, which regions count.

    Returns:
        uint8 (3, H, W): up to 16 regions in a row, those that are kept first; black where there are fewer.
    """
    order = (~kept).to(torch.uint8).sort(stable=True).indices[:SHOWN]
    strength = features[order].detach().float().norm(dim=1)  # (16, S, S)
    strength = (strength / strength.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12) * 255).to(torch.uint8)
    size = strength.shape[-1]
    covered = hidden[order].view(-1, size, size) > 0
    red = torch.tensor(HIDDEN, dtype=torch.uint8, device=features.device).view(3, 1, 1, 1)
    cells = torch.where(covered, red, strength) * kept[order].view(-1, 1, 1)  # (3, 16, S, S)
    cells = cells.repeat_interleave(CELL, dim=2).repeat_interleave(CELL, dim=3)
    picture = torch.nn.functional.pad(cells, (0, GAP)).permute(0, 2, 1, 3).flatten(2)
    return picture[..., :-GAP].contiguous().cpu()
