"""RetinaNet as published (Lin et al., 2017, arXiv 1708.02002): focal loss on the shapes baseline."""

baseline = "baselines/retinanet_shapes"
remedies = ["focal_loss"]
