"""What the tests of the adversaries share: a detector of a few thousand parameters, and a stage of RoI heads alone.

Letters: R regions, K classes, C channels, S side of the pooled square.
"""

import copy
import functools

import torch

from imbdet import testing
from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config
from imbdet.modeling.backbones import TinyBackbone
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import SoftmaxCrossEntropy
from imbdet.modeling.heads import BoxHead, BoxPredictor
from imbdet.modeling.roi_heads import Stage
from tests.helpers import criterion

K, C, S = 3, 8, 7
DROPOUT, TRANSFORMER = "adversarial_spatial_dropout", "adversarial_spatial_transformer"
PHASES = {"detector": (99, 0), "adversary": (0, 99), "joint": (0, 0)}  #: iterations that a training begins in


@functools.cache
def _small(remedies):
    cfg = load_config("baselines/faster_rcnn_shapes", remedies)
    shrink(cfg)
    cfg.model.num_classes = K
    return cfg


def tiny_config(remedies=(), phase="joint"):
    """faster_rcnn_shapes with few channels, with the adversaries in one phase for good."""
    cfg = copy.deepcopy(_small(tuple(remedies)))
    for part in parts_of(cfg):
        part.phases.detector, part.phases.adversary = PHASES[phase]
    return cfg


def shrink(cfg):
    """Few channels everywhere."""
    cfg.model.backbone = L(TinyBackbone)(widths=[8, 8, 8, 8, 8])
    cfg.model.neck.channels = C
    cfg.model.roi_heads.box_head.widths = [16, 16]
    for part in parts_of(cfg):
        small = {"width": 8, "widths": [16, 16]}
        part.network.update({key: small[key] for key in part.network if key in small})


def parts_of(cfg):
    """The nodes of the adversaries in a config."""
    node = cfg.model.roi_heads.region_features
    return [] if node is None else list(node.parts) if "parts" in node else [node]


def tiny_detector(remedies=(), phase="joint", seed=0):
    torch.manual_seed(seed)
    return instantiate(tiny_config(remedies, phase).model).train()


def scene(*counts, side=30.0, size=64, seed=0):
    """Pictures with as many objects as asked, squares of `side` pixels."""
    g = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (3, size, size), generator=g, dtype=torch.uint8) for _ in counts]
    targets = []
    for m in counts:
        corner = torch.rand(m, 2, generator=g) * (size - side)
        targets.append({"boxes": torch.cat((corner, corner + side), dim=1), "labels": torch.arange(m) % K})
    return images, targets


def some_regions(labels, images=1):
    """Matched regions of these labels, the same number in each image; each is 10 x 10, its target beside it."""
    r, box = len(labels), torch.tensor([[0.0, 0, 10, 10]])
    given = {"objects": [0] * r, "iou": torch.rand(r), "boxes": box.repeat(r, 1), "targets": (box + 1).repeat(r, 1)}
    return testing.regions(labels, K, num_images=images, **given)


def stage(change=None, classification=None):
    """A head on (R, C, S, S) with its criterion; logits are large enough to be sure of something."""
    classification = classification or SoftmaxCrossEntropy()
    head = BoxHead([16])
    head.build(C, S)
    predictor = BoxPredictor(16, K, classification.num_logits(K))
    torch.nn.init.normal_(predictor.cls_score.weight, std=1.0)
    made = criterion(classification, box_coder=BoxCoder(), num_classes=K)
    if change is not None:
        change.build(C, S)
    return Stage(head, predictor, made, change)
