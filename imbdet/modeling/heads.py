"""The convolutional and fully connected heads, with detectron2's names and initial values.

Letters: N images, R regions, K classes, C logits a region, A anchors of one image over all levels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..slots import Classifier
from .anchors import flatten_levels
from .class_rows import by_class

#: first deviation of the values beside the deltas: they start at nearly 0 (He et al., 2019, arXiv 1809.08545)
EXTRA_STD = 1e-4


class RPNHead(nn.Module):
    """One 3x3 convolution, then objectness and deltas, shared by all levels.

    Args:
        channels: of the neck. per_cell: anchors a cell. logits: C for each anchor. bias: first bias of the logits, one
        number or (C,). values: what is said of an anchor's box.
    """

    def __init__(self, channels: int, per_cell: int, logits: int = 1, bias: float | Tensor = 0.0, values: int = 4):
        super().__init__()
        self.logits = logits
        self.values = values
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, per_cell * logits, 1)
        self.anchor_deltas = nn.Conv2d(channels, per_cell * values, 1)
        for layer in self.children():
            _normal(layer, 0.01)
        start_bias(self.objectness_logits, bias)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map L maps (N, C, H, W) -> logits (N, A, C), outputs (N, A, values)."""
        hidden = [F.relu(self.conv(x), inplace=True) for x in features]
        logits = flatten_levels([self.objectness_logits(x) for x in hidden], self.logits)
        return logits, flatten_levels([self.anchor_deltas(x) for x in hidden], self.values)


class RetinaNetHead(nn.Module):
    """Two towers of 3x3 convolutions, one for classes and one for deltas, shared by all levels.

    Args:
        channels: of the neck. per_cell: anchors a cell. logits: C for each anchor. bias: first bias of the logits, one
        number or (C,). convs: convolutions a tower. extra: V values an anchor that the regression asks for beside the
        deltas. values: what takes the place of the four deltas.
    """

    def __init__(
        self,
        channels: int,
        per_cell: int,
        logits: int,
        bias: float | Tensor = 0.0,
        convs: int = 4,
        extra: int = 0,
        values: int = 4,
    ):
        super().__init__()
        self.values = values
        self.logits = logits
        self.extra = extra
        self.cls_subnet = _tower(channels, convs)
        self.bbox_subnet = _tower(channels, convs)
        self.cls_score = by_class(nn.Conv2d(channels, per_cell * logits, 3, padding=1), groups=per_cell)
        self.bbox_pred = nn.Conv2d(channels, per_cell * values, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                _normal(layer, 0.01)
        start_bias(self.cls_score, bias)
        if extra:  # made last, so that without it every other layer starts with the same weights
            self.bbox_extra = nn.Conv2d(channels, per_cell * extra, 3, padding=1)
            _normal(self.bbox_extra, EXTRA_STD)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map L maps (N, C, H, W) -> logits (N, A, C), outputs (N, A, 4 + V)."""
        logits = flatten_levels([self.cls_score(self.cls_subnet(x)) for x in features], self.logits)
        hidden = [self.bbox_subnet(x) for x in features]
        deltas = flatten_levels([self.bbox_pred(x) for x in hidden], self.values)
        if self.extra:
            extra = flatten_levels([self.bbox_extra(x) for x in hidden], self.extra)
            deltas = torch.cat((deltas, extra), dim=2)
        return logits, deltas


class BoxHead(nn.Module):
    """Fully connected layers on pooled features.

    Args:
        widths: of the layers.
    """

    def __init__(self, widths=(1024, 1024)):
        super().__init__()
        self.widths = tuple(widths)
        self.layers: list[str] = []
        self.channels = 0

    def build(self, channels: int, size: int) -> None:
        """channels: of the neck. size: side of the pooled square."""
        inputs = channels * size * size
        for i, width in enumerate(self.widths):
            layer = nn.Linear(inputs, width)
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)
            self.add_module(f"fc{i + 1}", layer)
            self.layers.append(f"fc{i + 1}")
            inputs = width
        self.channels = inputs

    def last_layer(self) -> list[nn.Parameter]:
        """Return the parameters of the last layer, which all predictions share; none where there is no layer."""
        return list(self.get_submodule(self.layers[-1]).parameters()) if self.layers else []

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, C, S, S) -> (R, channels)."""
        x = x.flatten(1)
        for name in self.layers:
            x = F.relu(self.get_submodule(name)(x), inplace=True)
        return x


class Linear(nn.Linear, Classifier):
    """Slot `classifier`: weights and a bias for each logit."""

    def __init__(self, channels: int, logits: int):
        super().__init__(channels, logits)

    def start(self, bias: float | Tensor) -> None:
        nn.init.normal_(self.weight, std=0.01)
        start_bias(self, bias)


class ScaledLinear(Linear):
    """Slot `classifier`: a learned factor for each logit, 1 at first: z_c = s_c w_c x + b_c.

    With all but `scale` frozen it is LWS (Kang et al., 2020, arXiv 1910.09217, section 4.1).
    """

    def __init__(self, channels: int, logits: int):
        super().__init__(channels, logits)
        self.scale = nn.Parameter(torch.ones(logits))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale.unsqueeze(1), self.bias)


class Cosine(Linear):
    """Slot `classifier`: the cosine of features and weights times `tau`: z_c = tau cos(w_c, x) + b_c.

    As in Seesaw loss (Wang et al., 2021, arXiv 2008.10032, section 3.3), where the norm of a class's weights, which
    grows with its frequency, is to play no part. Weights start as those of Linear do: only their direction counts.

    Args:
        tau: 20 in the paper.
    """

    def __init__(self, channels: int, logits: int, tau: float = 20.0):
        super().__init__(channels, logits)
        if tau <= 0:
            raise ValueError(f"tau must be positive, got {tau}")
        self.tau = tau

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.tau * F.normalize(x, dim=1, eps=1e-6), F.normalize(self.weight, dim=1), self.bias)


#: what a config has in the slot `classifier`: (channels, logits) -> the layer
MakesClassifier = Callable[[int, int], Linear]


class BoxPredictor(nn.Module):
    """Logits and deltas of RoIs.

    Args:
        channels: of the box head. classes: sets of four deltas, K or 1 (class-agnostic). logits: C. bias: their first
        bias, one number or (C,). extra: V values a set that the regression asks for beside the deltas. values: what
        takes the place of the four deltas. classifier: the slot of that name.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        logits: int,
        bias: float | Tensor = 0.0,
        extra: int = 0,
        values: int = 4,
        classifier: MakesClassifier | None = None,
    ):
        super().__init__()
        self.values = values
        self.extra = extra
        self.cls_score = by_class((classifier or Linear)(channels, logits))
        self.bbox_pred = by_class(nn.Linear(channels, values * classes), each=values)
        self.cls_score.start(bias)
        _normal(self.bbox_pred, 0.001)
        if extra:  # made last, as in RetinaNetHead
            self.bbox_extra = by_class(nn.Linear(channels, extra * classes), each=extra)
            _normal(self.bbox_extra, EXTRA_STD)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, channels) -> logits (R, C), outputs (R, classes, 4 + V)."""
        deltas = self.bbox_pred(x).view(x.shape[0], -1, self.values)
        if self.extra:
            deltas = torch.cat((deltas, self.bbox_extra(x).view(x.shape[0], -1, self.extra)), dim=2)
        return self.cls_score(x), deltas


def _tower(channels: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def start_bias(layer: Any, bias: float | Tensor) -> None:
    """Set the first bias of C logits, one number or (C,), repeated for each anchor of a cell."""
    with torch.no_grad():
        if isinstance(bias, Tensor):
            bias = bias.to(layer.bias).repeat(len(layer.bias) // len(bias))
        layer.bias.copy_(torch.as_tensor(bias))


def _normal(layer: Any, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
