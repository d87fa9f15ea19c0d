"""The gradient harmonizing mechanism (Li et al., 2019, arXiv 1811.05181) for classification and regression.

Published: +1.4 AP on RetinaNet R50 in the authors' code, +0.5 on mmdetection's baseline.
"""

baseline = "baselines/retinanet_shapes"
remedies = ["ghm_c", "ghm_r"]
