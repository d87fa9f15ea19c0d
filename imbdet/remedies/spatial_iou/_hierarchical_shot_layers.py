"""The layers of the Hierarchical Shot Detector: convolutions that look where boxes went, and better features.

What is notable here: offsets are in cells and in float32 whatever the precision around them, as torchvision's
deformable convolution has no bfloat16 on a CPU; that kernel runs on one core there and its backward is slow, so a CPU
samples by other means; and the attention never holds its (H*W, H*W) weights, nor looks at padding.
Letters: N images, C channels, G anchors a cell, T = 9 taps of a 3x3 convolution, O outputs, H and W of a map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from ...modeling.heads import start_bias

TAPS = 9  #: T


class ShiftedConv(nn.Module):
    """A 3x3 convolution that sees its map G times, each time with the taps moved by the offsets of one anchor.

    The weights are dense over the G copies, so every output sees all anchors' places. Without offsets this is a plain
    convolution with the sum of the G weights.

    Args:
        channels: C. outputs: of the result. anchors: G. bias: first value of the bias, one number or one for each
            logit of an anchor.
    """

    def __init__(self, channels: int, outputs: int, anchors: int, bias: float | Tensor = 0.0):
        super().__init__()
        self.anchors = anchors
        self.weight = nn.Parameter(torch.empty(outputs, anchors * channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=0.01)
        start_bias(self, bias)

    def forward(self, x: Tensor, offset: Tensor | None) -> Tensor:
        """Map (N, C, H, W), offset (N, G*T*2, H, W) of y, x in cells or None -> (N, outputs, H, W)."""
        if offset is None:
            return F.conv2d(x, self.weight.unflatten(1, (self.anchors, -1)).sum(dim=1), self.bias, padding=1)
        convolve = by_sampling if x.device.type == "cpu" else by_kernel
        with torch.autocast(x.device.type, enabled=False):
            return convolve(x.float(), offset.float(), self.weight, self.bias)


def by_kernel(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map (N, C, H, W), offset (N, G*T*2, H, W), weight (O, G*C, 3, 3), bias (O,) -> (N, O, H, W), by torchvision."""
    return deform_conv2d(x.repeat(1, weight.shape[1] // x.shape[1], 1, 1), offset, weight, bias, padding=1)


def by_sampling(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the same: bilinear samples at all taps, then one matrix product.

    On one core, forward and backward of 8 maps of 64x16x16 took 0.07 s instead of 0.55 s. It keeps the (N, C, G*T, H*W)
    samples for the backward, which the kernel computes again.
    """
    n, c, h, w = x.shape
    g = weight.shape[1] // c
    tap = torch.arange(TAPS, device=x.device).repeat(g).view(-1, 1, 1)
    down = offset[:, 0::2] + torch.div(tap, 3, rounding_mode="floor") - 1 + torch.arange(h, device=x.device).view(h, 1)
    across = offset[:, 1::2] + tap % 3 - 1 + torch.arange(w, device=x.device)
    # centers of cells are whole numbers here; grid_sample has the map's edges at -1 and 1
    grid = torch.stack(((2 * across + 1) / w - 1, (2 * down + 1) / h - 1), dim=-1).flatten(2, 3)
    samples = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
    rows = weight.view(-1, g, c, TAPS).transpose(1, 2).reshape(len(weight), c * g * TAPS)
    return (rows @ samples.flatten(1, 2) + bias.unsqueeze(1)).unflatten(2, (h, w))


class Look(nn.Module):
    """Where to look for the boxes that were regressed: deltas to offsets, for each anchor from its own four alone.

    The deltas are detached: what classifies must not bend the boxes to what it would like to see. The last layer
    starts at zero, so that training begins with a plain convolution.

    Args:
        anchors: G.
    """

    def __init__(self, anchors: int):
        super().__init__()
        self.hidden = nn.Conv2d(4 * anchors, 12 * anchors, 1, groups=anchors)
        self.taps = nn.Conv2d(12 * anchors, 2 * TAPS * anchors, 1, groups=anchors, bias=False)
        nn.init.zeros_(self.taps.weight)

    def forward(self, deltas: Tensor) -> Tensor:
        """Map (N, 4G, H, W) -> (N, G*T*2, H, W)."""
        with torch.autocast(deltas.device.type, enabled=False):
            return self.taps(F.relu(self.hidden(deltas.detach().float())))


class _Norm(nn.BatchNorm2d):
    """Batch norm; a single value a channel, as of one small picture's coarsest level, has no variance of its own."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def conv_norm(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Return convolution that keeps the size, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, _Norm(outputs), nn.ReLU(inplace=True))


class PositionAttention(nn.Module):
    """Adds to each cell what the cells like it hold, near or far (Fu et al., 2019, arXiv 1809.02983, section 3.2).

    Args:
        channels: C, a multiple of 4.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 4, 1)
        self.key = nn.Conv2d(channels, channels // 4, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Map (N, C, H, W), inside (N, H*W) False on padding -> (N, C, H, W)."""
        n, c, h, w = x.shape
        # the value in four parts as wide as query and key: the fused kernels want one width, and need no (HW, HW)
        query, key = (y.flatten(2).mT.unsqueeze(1).expand(n, 4, h * w, c // 4) for y in (self.query(x), self.key(x)))
        value = self.value(x).view(n, 4, c // 4, h * w).mT
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=inside.view(n, 1, 1, h * w), scale=1.0)
        return x + self.gamma * found.mT.reshape(n, c, h, w)


class Enhancement(nn.Module):
    """Two maps of a picture, in one row, -> one with non-local, local and wider context.

    Args:
        channels: C of each of the two and of the result. dropout: of whole channels, in 0..1.
    """

    def __init__(self, channels: int, dropout: float = 0.1):
        super().__init__()
        inputs, inner = 2 * channels, 4 * max(1, channels // 8)
        self.before, self.after = conv_norm(inputs, inner), conv_norm(inner, inner)
        self.attention = PositionAttention(inner)
        self.local = nn.Sequential(conv_norm(inputs, inner, kernel=1), conv_norm(inner, inner))
        self.context = nn.Sequential(conv_norm(inputs, inner, kernel=1), conv_norm(inner, inner, dilation=3))
        self.dropout = nn.Dropout2d(dropout)
        self.fuse = conv_norm(3 * inner, channels)

    def forward(self, x: Tensor, inside: Tensor) -> Tensor:
        """Map (N, 2C, H, W), inside (N, H*W) False on padding -> (N, C, H, W)."""
        far = self.after(self.attention(self.before(x), inside))
        return self.fuse(self.dropout(torch.cat((far, self.local(x), self.context(x)), dim=1)))


class EnhancedPyramid(nn.Module):
    """Each level enhanced together with the next coarser one; the coarsest by a convolution.

    Args:
        channels: C. strides: of the levels, pixels, finest first.
    """

    def __init__(self, channels: int, strides):
        super().__init__()
        self.strides = tuple(strides)
        self.levels = nn.ModuleList(Enhancement(channels) for _ in self.strides[1:])
        self.top = conv_norm(channels, channels)

    def forward(self, maps: list[Tensor], sizes: Tensor) -> list[Tensor]:
        """Map L maps (N, C, H, W), sizes (N, 2) of the pictures in pixels -> L maps (N, C, H, W)."""
        found = []
        for fine, coarse, stride, level in zip(maps[:-1], maps[1:], self.strides[:-1], self.levels, strict=True):
            above = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            found.append(level(torch.cat((above, fine), dim=1), _inside(fine, stride, sizes)))
        return [*found, self.top(maps[-1])]


def _inside(x: Tensor, stride: int, sizes: Tensor) -> Tensor:
    """(N, H*W) bool: the cell lies in its picture, not in the padding beside or below it."""
    rows, columns = (torch.arange(n, device=x.device) * stride for n in x.shape[-2:])
    return ((rows < sizes[:, :1]).unsqueeze(2) & (columns < sizes[:, 1:]).unsqueeze(1)).flatten(1)
