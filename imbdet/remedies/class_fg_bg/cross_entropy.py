"""Sigmoid cross entropy: every region counts as it is wrong, however many easy ones there are.

Letters: R regions, K classes.
"""

from ...modeling.defaults import SigmoidCrossEntropy


class CrossEntropy(SigmoidCrossEntropy):
    """Cross entropy over K independent logits: the minus side of focal loss and of its kin.

    Slot: classification
    Imbalance: class_fg_bg
    Home: either
    Source: Lin, Goyal, Girshick, He, Dollar, 2017, arXiv 1708.02002, equation 1 and section 3.3 (the prior)
    Neutral: any setting is the sigmoid cross entropy of `imbdet.modeling.defaults`
    Differs: nothing; on RoI heads it replaces the softmax over K + 1 logits by K sigmoids

    With p = sigmoid(x) for the region's class and 1 - sigmoid(x) for the others, summed over the K logits:

        CE = -log p

    Args:
        prior: probability of every class before training. With 0.5 the sum over 100,000 anchors diverges, so the
            default is the paper's 0.01.

    Example:
        >>> from imbdet.remedies.class_fg_bg.cross_entropy import CrossEntropy
        >>> round(CrossEntropy().initial_bias(80), 3)
        -4.595
    """

    def __init__(self, prior: float = 0.01):
        super().__init__(prior)
