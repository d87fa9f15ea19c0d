"""RetinaNet R50-FPN with detectron2's values (COCO-Detection/retinanet_R_50_FPN_1x)."""

from imbdet.config import LazyCall as L
from imbdet.data.statistics import num_classes
from imbdet.modeling.anchors import AnchorGrid
from imbdet.modeling.backbones import TimmBackbone
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.criterion import Criterion
from imbdet.modeling.defaults import AllRegions, FixedWeights, ForegroundAverage, SmoothL1, ThresholdMatcher
from imbdet.modeling.detectors import RetinaNet
from imbdet.modeling.necks import FPN
from imbdet.modeling.preprocess import Preprocess
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss

model = L(RetinaNet)(
    num_classes=L(num_classes)(records="${data.train}"),
    preprocess=L(Preprocess)(mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], channels="BGR", divisor=32),
    backbone=L(TimmBackbone)(
        name="resnet50",
        levels=["c3", "c4", "c5"],
        weights="",
        frozen_stages=2,
        frozen_norm=True,
        stride_in_1x1=True,
    ),
    neck=L(FPN)(channels=256, extra="convs"),
    anchors=L(AnchorGrid)(
        sizes=[[x, x * 2 ** (1 / 3), x * 2 ** (2 / 3)] for x in (32, 64, 128, 256, 512)],
        ratios=[0.5, 1.0, 2.0],
    ),
    convs=4,
    criterion=L(Criterion)(
        matcher=L(ThresholdMatcher)(foreground=0.5, background=0.4, best_for_each_object=True),
        region_sampler=L(AllRegions)(),
        # published with focal loss; `--remedy cross_entropy` is the minus side
        classification=L(FocalLoss)(gamma=2.0, alpha=0.25, prior=0.01),
        regression=L(SmoothL1)(beta=0.0),
        weighting=None,
        coupling=None,
        normalizer=L(ForegroundAverage)(momentum=0.9, start=100.0),
        box_coder=L(BoxCoder)(weights=[1.0, 1.0, 1.0, 1.0]),
        num_classes="${model.num_classes}",
    ),
    candidates_per_level=1000,
    # detectron2: 0.05, which cuts the end of the precision-recall curve, of rare classes above all; what is drawn has
    # thresholds of its own
    score_threshold=0.001,
    nms_threshold=0.5,
    max_detections=100,
    objective=L(FixedWeights)(weights={}),
    calibration=None,
)
