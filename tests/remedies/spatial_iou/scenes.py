"""A world in which RoI heads can learn in a second: the map shows where objects are, and proposals miss them.

Letters: N images, M objects and P proposals of one image.
"""

from types import SimpleNamespace

import torch
from scipy import stats

from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.heads import BoxHead
from imbdet.modeling.roi_pool import MultiLevelRoIAlign
from imbdet.structures import Objects
from tests.helpers import K, criterion

SIZE, STRIDE = 128, 4
HEIGHT, WIDTH = 480, 640  #: of the images of `objects_of`
NECK = SimpleNamespace(strides={"p2": STRIDE}, channels=K)


def built(heads_class, seed=0, widths=(32,), neck=NECK, **settings):
    """RoI heads with small layers of their own, with the same weights for the same seed."""
    torch.manual_seed(seed)
    pooler = MultiLevelRoIAlign(levels=["p2"], size=7, sampling_ratio=2)
    settings = {"criterion": criterion(), **settings}
    heads = heads_class(pooler=pooler, box_head=BoxHead(widths), **settings)
    heads.build(neck)
    return heads


def world(n=2, p=24, seed=0):
    """Maps {"p2": (N, K, 32, 32)}, proposals (N, P, 4), valid (N, P), objects (one in each quarter), sizes (N, 2).

    The map of a class is 1 inside its objects.
    """
    g = torch.Generator().manual_seed(seed)
    corner = torch.tensor([[8.0, 8], [72, 8], [8, 72], [72, 72]]) + torch.rand(n, 4, 2, generator=g) * 16
    boxes = torch.cat((corner, corner + 16 + torch.rand(n, 4, 2, generator=g) * 16), dim=2)
    labels = torch.randint(0, K, (n, 4), generator=g)
    objects = Objects(boxes, labels, torch.ones(n, 4, dtype=torch.bool))

    center = (torch.arange(SIZE // STRIDE) + 0.5) * STRIDE
    x, y = center.view(1, 1, 1, -1), center.view(1, 1, -1, 1)
    x1, y1, x2, y2 = (boxes[..., i, None, None] for i in range(4))
    inside = ((x > x1) & (x < x2) & (y > y1) & (y < y2)).float()  # (N, M, H, W)
    kind = torch.nn.functional.one_hot(labels, K).float()
    features = {"p2": torch.einsum("nmhw,nmk->nkhw", inside, kind)}

    which = torch.randint(0, 4, (n, p), generator=g)
    target = boxes.gather(1, which.unsqueeze(-1).expand(-1, -1, 4))
    deltas = (torch.rand(n, p, 4, generator=g) - 0.5) * torch.tensor([0.6, 0.6, 0.8, 0.8])
    proposals = BoxCoder().decode(deltas, target).clamp(0, SIZE)
    return features, proposals, torch.ones(n, p, dtype=torch.bool), objects, torch.full((n, 2), SIZE)


def without_objects(n=2, p=24, seed=0):
    """The same with nothing to find."""
    features, proposals, valid, objects, sizes = world(n, p, seed)
    empty = Objects(objects.boxes * 0, objects.labels * 0, torch.zeros_like(objects.valid))
    return {"p2": features["p2"] * 0}, proposals, valid, empty, sizes


def objects_of(boxes, valid=None):
    """Boxes (N, M, 4) as objects of class 0 in images of 480x640, and the sizes."""
    n, m = boxes.shape[:2]
    valid = torch.ones(n, m, dtype=torch.bool) if valid is None else valid
    return Objects(boxes, torch.zeros(n, m, dtype=torch.long), valid), torch.tensor([[HEIGHT, WIDTH]] * n)


def uniformity(iou):
    """p-values of chi-square over ten bins and of Kolmogorov-Smirnov against U(0.5, 1)."""
    counts = torch.histc(torch.from_numpy(iou), 10, 0.5, 1)
    return stats.chisquare(counts.numpy()).pvalue, stats.kstest(iou, stats.uniform(0.5, 0.5).cdf).pvalue
