"""torchvision's detectors with the backbone, neck, heads, anchors and settings of one of ours, to be measured beside
it.
"""

import copy

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from imbdet.modeling.detectors import FasterRCNN, RetinaNet


class _Features(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.backbone, self.neck = copy.deepcopy(model.backbone), copy.deepcopy(model.neck)
        self.out_channels = self.neck.channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.neck(self.backbone(x))


class _Anchors(AnchorGenerator):
    """Sizes and ratios are only counted: the boxes are those of our cells."""

    def __init__(self, grid):
        super().__init__(
            sizes=tuple((1,) * grid.per_cell for _ in grid.cells), aspect_ratios=((1.0,),) * len(grid.cells)
        )
        self.cell_anchors = list(grid.cells)


def torchvision_peer(model: FasterRCNN | RetinaNet) -> nn.Module:
    """A detector of torchvision that does the same work as `model`; it takes floats in 0..1 and, two-stage, labels
    from 1.
    """
    common = {
        "image_mean": (model.preprocess.mean.view(-1) / 255).tolist(),
        "image_std": (model.preprocess.std.view(-1) / 255).tolist(),
    }
    peer = _retinanet(model, common) if isinstance(model, RetinaNet) else _faster_rcnn(model, common)
    _copy_weights(model, peer)
    peer.transform.resize = lambda image, target=None: (image, target)  # pictures come in the right size
    return peer


def _retinanet(model: RetinaNet, common: dict) -> nn.Module:
    peer = TorchvisionRetinaNet(
        _Features(model),
        model.num_classes,
        anchor_generator=_Anchors(model.anchors),
        head=RetinaNetHead(model.neck.channels, model.anchors.per_cell, model.num_classes),
        score_thresh=model.score_threshold,
        nms_thresh=model.nms_threshold,
        detections_per_img=model.max_detections,
        topk_candidates=model.candidates_per_level,
        **common,
    )
    for head in (peer.head.classification_head, peer.head.regression_head):
        head.conv = head.conv[: len(model.head.cls_subnet) // 2]
    return peer


def _faster_rcnn(model: FasterRCNN, common: dict) -> nn.Module:
    rpn, roi = model.rpn, model.roi_heads
    sampling = rpn.criterion.region_sampler, roi.criterion.region_sampler
    pool = MultiScaleRoIAlign(
        list(roi.pooler.levels),
        roi.pooler.size,
        roi.pooler.sampling_ratio,
        canonical_scale=roi.pooler.canonical_size,
        canonical_level=roi.pooler.canonical_level,
    )
    return TorchvisionFasterRCNN(
        _Features(model),
        rpn_anchor_generator=_Anchors(rpn.anchors),
        rpn_pre_nms_top_n_train=rpn.before_nms[0],
        rpn_pre_nms_top_n_test=rpn.before_nms[1],
        rpn_post_nms_top_n_train=rpn.after_nms[0],
        rpn_post_nms_top_n_test=rpn.after_nms[1],
        rpn_nms_thresh=rpn.nms_threshold,
        rpn_batch_size_per_image=sampling[0].per_image,
        rpn_positive_fraction=sampling[0].fraction,
        box_roi_pool=pool,
        box_head=copy.deepcopy(roi.box_head),
        box_predictor=FastRCNNPredictor(roi.box_head.channels, model.num_classes + 1),
        box_batch_size_per_image=sampling[1].per_image,
        box_positive_fraction=sampling[1].fraction,
        box_score_thresh=model.score_threshold,
        box_nms_thresh=model.nms_threshold,
        box_detections_per_img=model.max_detections,
        **common,
    )


def _copy_weights(model, peer) -> None:
    """The heads' weights, so that both find and suppress the same; torchvision's background is class 0."""
    pairs: list[tuple[nn.Module, nn.Module]]
    if isinstance(model, RetinaNet):
        ours = (
            _convs(model.head.cls_subnet)
            + [model.head.cls_score]
            + _convs(model.head.bbox_subnet)
            + [model.head.bbox_pred]
        )
        pairs = list(zip(ours, _convs(peer.head), strict=True))
    else:
        head = model.rpn.head
        pairs = list(zip((head.conv, head.objectness_logits, head.anchor_deltas), _convs(peer.rpn.head), strict=True))
    for mine, other in pairs:
        other.load_state_dict(mine.state_dict())
    if isinstance(model, FasterRCNN):
        mine, other = model.roi_heads.box_predictor, peer.roi_heads.box_predictor
        with torch.no_grad():
            for a, b in zip(mine.cls_score.parameters(), other.cls_score.parameters(), strict=True):
                b.copy_(a.roll(1, dims=0))
            for a, b in zip(mine.bbox_pred.parameters(), other.bbox_pred.parameters(), strict=True):
                b[4:].copy_(a)


def _convs(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def peer_batch(images: list[Tensor], targets: list[dict], two_stage: bool) -> tuple[list[Tensor], list[dict]]:
    """A batch of ours in torchvision's terms."""
    shift = 1 if two_stage else 0
    return (
        [image.to(torch.float32) / 255 for image in images],
        [{"boxes": t["boxes"], "labels": t["labels"] + shift} for t in targets],
    )
