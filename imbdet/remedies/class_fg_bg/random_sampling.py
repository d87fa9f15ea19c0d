"""Random sampling: a fixed number of regions an image, with at most a fraction of foreground.

Letters: R regions.
"""

from ...modeling import defaults


class RandomSampling(defaults.RandomSampling):
    """Keeps a random number of regions of an image, so that background cannot outnumber the objects at will.

    Slot: region_sampler
    Imbalance: class_fg_bg
    Home: either
    Source: Ren, He, Girshick, Sun, 2015, arXiv 1506.01497, section 3.1.3 (RPN); Girshick, 2015, arXiv 1504.08083,
        section 2.3 (RoI head)
    Neutral: on RoI heads the number and fraction of the baseline, whose own sampler this is
    Differs: on RetinaNet, which was published without sampling, it takes the RPN's 256 regions and half of them

    Of P foreground regions an image keeps min(P, int(per_image * fraction)); background fills the rest.

    Args:
        per_image: regions kept of one image: 256 in the RPN, 512 in the RoI head (128 in Fast R-CNN).
        fraction: largest share of foreground, in 0..1: 0.5 in the RPN, 0.25 in the RoI head.

    Example:
        >>> from imbdet.remedies.class_fg_bg.random_sampling import RandomSampling
        >>> RandomSampling(per_image=256, fraction=0.5).per_image
        256
    """
