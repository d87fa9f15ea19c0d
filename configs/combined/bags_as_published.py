"""Balanced group softmax as published (Li et al., 2020, arXiv 2006.10408): a finished detector's classifier anew.

    imbdet train --config combined/bags_as_published train.init_checkpoint=output/run/best.pth

All but the classifier is frozen, bins end at 10, 100 and 1000 boxes, at half of the learning rate; 300 detections an
image are kept whatever their score.
Missing here: LVIS 0.5, whose counts the bins are made for (with few classes some are empty: `--remedy bags` has
quartiles); 12 epochs with a tenth of the rate after 8 and 11. The source's own control is as many epochs more of the
whole softmax detector, which gave 0.9 of its 5.0 AP (21.0 to 26.0, Faster R-CNN R50).
"""

baseline = "baselines/faster_rcnn_shapes"
remedies = ["bags"]
wraps = ("bags",)  # it sets its edges


def apply(cfg):
    cfg.model.roi_heads.criterion.classification.edges = [10, 100, 1000]
    cfg.train.freeze, cfg.train.reset = ["*", "!*.cls_score"], ["*.cls_score"]
    cfg.optimizer.lr = 0.5 * cfg.optimizer.lr
    cfg.model.score_threshold, cfg.model.max_detections = 0.0, 300
