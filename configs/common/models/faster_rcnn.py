"""Faster R-CNN R50-FPN with detectron2's values (COCO-Detection/faster_rcnn_R_50_FPN_1x)."""

from imbdet.config import LazyCall as L
from imbdet.data.statistics import num_classes
from imbdet.modeling.anchors import AnchorGrid
from imbdet.modeling.backbones import TimmBackbone
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.criterion import Criterion
from imbdet.modeling.defaults import (
    Considered,
    FixedWeights,
    PerImage,
    RandomSampling,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
    ThresholdMatcher,
)
from imbdet.modeling.detectors import FasterRCNN
from imbdet.modeling.heads import BoxHead
from imbdet.modeling.necks import FPN
from imbdet.modeling.preprocess import Preprocess
from imbdet.modeling.roi_heads import RoIHeads
from imbdet.modeling.roi_pool import MultiLevelRoIAlign
from imbdet.modeling.rpn import RPN

model = L(FasterRCNN)(
    num_classes=L(num_classes)(records="${data.train}"),
    # detectron2's ImageNet weights are MSRA's: BGR, mean subtracted, no division
    preprocess=L(Preprocess)(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], channels="BGR", divisor=32),
    backbone=L(TimmBackbone)(
        name="resnet50",
        levels=["c2", "c3", "c4", "c5"],
        weights="",
        frozen_stages=2,
        frozen_norm=True,
        stride_in_1x1=True,
    ),
    neck=L(FPN)(channels=256, extra="pool"),
    rpn=L(RPN)(
        anchors=L(AnchorGrid)(sizes=[[32], [64], [128], [256], [512]], ratios=[0.5, 1.0, 2.0]),
        criterion=L(Criterion)(
            matcher=L(ThresholdMatcher)(foreground=0.7, background=0.3, best_for_each_object=True),
            region_sampler=L(RandomSampling)(per_image=256, fraction=0.5),
            classification=L(SigmoidCrossEntropy)(prior=0.5),
            regression=L(SmoothL1)(beta=0.0),
            weighting=None,
            coupling=None,
            normalizer=L(PerImage)(count="${..region_sampler.per_image}"),
            box_coder=L(BoxCoder)(weights=[1.0, 1.0, 1.0, 1.0]),
            num_classes=1,
            names=["loss_rpn_cls", "loss_rpn_loc"],
        ),
        before_nms=[2000, 1000],
        after_nms=[1000, 1000],
        nms_threshold=0.7,
    ),
    roi_heads=L(RoIHeads)(
        pooler=L(MultiLevelRoIAlign)(levels=["p2", "p3", "p4", "p5"], size=7, sampling_ratio=0),
        box_head=L(BoxHead)(widths=[1024, 1024]),
        region_features=None,
        classifier=None,
        class_agnostic=False,
        criterion=L(Criterion)(
            matcher=L(ThresholdMatcher)(foreground=0.5, background=0.5, best_for_each_object=False),
            region_sampler=L(RandomSampling)(per_image=512, fraction=0.25),
            classification=L(SoftmaxCrossEntropy)(),
            regression=L(SmoothL1)(beta=0.0),
            weighting=None,
            coupling=None,
            normalizer=L(Considered)(),
            box_coder=L(BoxCoder)(weights=[10.0, 10.0, 5.0, 5.0]),
            num_classes="${model.num_classes}",
        ),
    ),
    # detectron2: 0.05, which cuts the end of the precision-recall curve, of rare classes above all; what is drawn has
    # thresholds of its own
    score_threshold=0.001,
    nms_threshold=0.5,
    max_detections=100,
    objective=L(FixedWeights)(weights={}),
    calibration=None,
)
