"""Small detectors of detectron2 as LazyConfigs, and two pictures: what the tests beside it train. Needs detectron2."""

import numpy as np
import torch
from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import FPN, BasicStem, ResNet
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNConvFCHead, FastRCNNOutputLayers, StandardROIHeads
from detectron2.structures import Boxes, Instances
from omegaconf import OmegaConf

CLASSES, WIDTH = 3, 32
PIXELS = {"pixel_mean": [103.53, 116.28, 123.675], "pixel_std": [58.0, 58.0, 58.0]}


def _backbone(top, features):
    stages = L(ResNet.make_default_stages)(depth=18, norm="FrozenBN")
    stem = L(BasicStem)(in_channels=3, out_channels=64, norm="FrozenBN")
    return L(FPN)(
        bottom_up=L(ResNet)(stem=stem, stages=stages, out_features=features),
        in_features=features,
        out_channels=WIDTH,
        top_block=top,
    )


def _anchors(sizes, strides):
    return L(DefaultAnchorGenerator)(sizes=sizes, aspect_ratios=[0.5, 1.0, 2.0], strides=strides, offset=0.0)


def _head():
    return L(FastRCNNConvFCHead)(
        input_shape=ShapeSpec(channels=WIDTH, height=7, width=7), conv_dims=[], fc_dims=[64, 64]
    )


def _predictor(weights, agnostic=False):
    return L(FastRCNNOutputLayers)(
        input_shape=ShapeSpec(channels=64),
        test_score_thresh=0.05,
        box2box_transform=L(Box2BoxTransform)(weights=weights),
        num_classes=CLASSES,
        cls_agnostic_bbox_reg=agnostic,
    )


def faster_rcnn():
    model = L(GeneralizedRCNN)(
        backbone=_backbone(L(LastLevelMaxPool)(), ["res2", "res3", "res4", "res5"]),
        proposal_generator=L(RPN)(
            in_features=["p2", "p3", "p4", "p5", "p6"],
            head=L(StandardRPNHead)(in_channels=WIDTH, num_anchors=3),
            anchor_generator=_anchors([[8], [16], [32], [64], [128]], [4, 8, 16, 32, 64]),
            anchor_matcher=L(Matcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], allow_low_quality_matches=True),
            box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
            batch_size_per_image=64,
            positive_fraction=0.5,
            pre_nms_topk=[200, 100],
            post_nms_topk=[100, 50],
            nms_thresh=0.7,
        ),
        roi_heads=L(StandardROIHeads)(
            num_classes=CLASSES,
            batch_size_per_image=48,
            positive_fraction=0.25,
            proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
            box_in_features=["p2", "p3", "p4", "p5"],
            box_pooler=L(ROIPooler)(
                output_size=7, scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32], sampling_ratio=0, pooler_type="ROIAlignV2"
            ),
            box_head=_head(),
            box_predictor=_predictor([10, 10, 5, 5]),
        ),
        **PIXELS,
    )
    return OmegaConf.create({"model": model}, flags={"allow_objects": True})


def cascade_rcnn():
    cfg = faster_rcnn()
    heads = cfg.model.roi_heads
    for key in ("box_head", "box_predictor", "proposal_matcher"):
        del heads[key]
    heads._target_ = CascadeROIHeads
    heads.box_heads = [_head() for _ in range(3)]
    heads.box_predictors = [_predictor([10 * k, 10 * k, 5 * k, 5 * k], agnostic=True) for k in (1, 2, 3)]
    heads.proposal_matchers = [
        L(Matcher)(thresholds=[iou], labels=[0, 1], allow_low_quality_matches=False) for iou in (0.5, 0.6, 0.7)
    ]
    return cfg


def retinanet():
    model = L(RetinaNet)(
        backbone=_backbone(L(LastLevelP6P7)(in_channels=512, out_channels=WIDTH), ["res3", "res4", "res5"]),
        head=L(RetinaNetHead)(
            input_shape=[ShapeSpec(channels=WIDTH)] * 5,
            num_classes=CLASSES,
            conv_dims=[WIDTH, WIDTH],
            prior_prob=0.01,
            num_anchors=9,
        ),
        anchor_generator=_anchors(
            [[x, x * 2 ** (1 / 3), x * 2 ** (2 / 3)] for x in (8, 16, 32, 64, 128)], [8, 16, 32, 64, 128]
        ),
        box2box_transform=L(Box2BoxTransform)(weights=[1.0, 1.0, 1.0, 1.0]),
        anchor_matcher=L(Matcher)(thresholds=[0.4, 0.5], labels=[0, -1, 1], allow_low_quality_matches=True),
        num_classes=CLASSES,
        head_in_features=["p3", "p4", "p5", "p6", "p7"],
        test_score_thresh=0.005,
        **PIXELS,
    )
    return OmegaConf.create({"model": model}, flags={"allow_objects": True})


MODELS = {"faster_rcnn": faster_rcnn, "cascade_rcnn": cascade_rcnn, "retinanet": retinanet}


def batch(empty=False):
    """Two pictures of different size, with objects of all three classes; `empty` takes those of the second away."""
    rng = np.random.default_rng(7)
    found = []
    for height, width, count in ((96, 128, 5), (128, 96, 0 if empty else 2)):
        corner = rng.uniform(0, 50, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(12, 44, (count, 2))], axis=1)
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        instances.gt_classes = torch.tensor([0, 0, 1, 2, 0][:count])
        image = torch.tensor(rng.integers(0, 256, (3, height, width)), dtype=torch.float32)
        found.append({"image": image, "instances": instances, "height": height, "width": width})
    return found


def data_set(name):
    """Register the two pictures' objects, so that class counts are known: 4, 1 and 1 of 3 classes, over 4 images."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, rows)
        MetadataCatalog.get(name).thing_classes = ["many", "few", "rare"]


def rows():
    """Three images and an empty one, as detectron2 keeps them."""
    labels = [[0, 0, 0], [0, 1], [2], []]
    return [
        {
            "file_name": f"{i}.png",
            "image_id": 100 + i,
            "height": 96,
            "width": 128,
            "annotations": [
                {"bbox": [10.0 * j, 5, 10.0 * j + 20, 30], "bbox_mode": 0, "category_id": k} for j, k in enumerate(one)
            ],
        }
        for i, one in enumerate(labels)
    ]
