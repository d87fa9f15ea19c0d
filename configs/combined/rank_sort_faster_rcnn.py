"""Rank & sort loss on both stages of Faster R-CNN (Oksuz et al., 2021, arXiv 2107.11669): nothing is sampled or tuned.

All anchors and all proposals are ranked, GIoU learns the boxes, and each box loss is made as large as the ranking loss
beside it. The RPN counts 0.2 and has the box coder of RoIs, as in the authors' config.
Missing here: the box loss of a region is not weighted by its highest score; detections below 0.4 are kept, which the
authors leave out for speed alone; a learning rate of 0.012 for 16 images (SGD), where this config has its baseline's;
at most 1000 positives and 5000 negatives are ranked at a time.
Published: COCO, R50 1x: AP 39.6.
"""

from imbdet.config import LazyCall as L
from imbdet.modeling.defaults import AllRegions, Foreground

baseline = "baselines/faster_rcnn_shapes"
remedies = ["rs_loss", "rs_loss@rpn", "giou_loss", "giou_loss@rpn", "rank_sort_ratio"]


def apply(cfg):
    rpn, roi = cfg.model.rpn.criterion, cfg.model.roi_heads.criterion
    rpn.region_sampler, roi.region_sampler = L(AllRegions)(), L(AllRegions)()
    rpn.normalizer = L(Foreground)()  # a constant of the box loss, which the ratio takes out again
    rpn.box_coder.weights = [10.0, 10.0, 5.0, 5.0]
    rpn.classification_weight = 0.2  # the box loss follows by its ratio
