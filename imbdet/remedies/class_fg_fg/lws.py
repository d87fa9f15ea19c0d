"""LWS: a finished detector stays as it is but for one factor a class, learned from all classes equally often."""

from ...modeling.heads import ScaledLinear


class LWS(ScaledLinear):
    """A factor for each row of the classifier's weights, 1 at first: the only thing that learns.

    Slot: classifier, image_sampler
    Imbalance: class_fg_fg
    Home: faster_rcnn alone
    Source: Kang et al., 2020, arXiv 1910.09217, section 4.1 (learnable weight scaling); in detection as in the code of
        Tan et al., 2021, arXiv 2012.08548
    Neutral: before its first step it is the finished detector, bit for bit
    Differs: images bring their other classes along, as in `crt`; the row of background has a factor, too, as in the
        source's code for detection

        z_c = s_c w_c x + b_c,    min over s of the loss, w, b and all else from a finished run

    The config freezes all but `scale`, lets `scale` start at 1 and takes class-aware sampling; the weights are
    `train.init_checkpoint`. On LVIS v1 it gave AP 17.0 where the finished detector had 16.1 and `crt` 22.1 (the same
    code): a factor cannot turn a direction.

    Args:
        channels, logits: of the layer.

    Example:
        >>> import torch
        >>> layer = LWS(2, 3)
        >>> sorted(name for name, _ in layer.named_parameters()), layer.scale.tolist()
        (['bias', 'scale', 'weight'], [1.0, 1.0, 1.0])
    """
