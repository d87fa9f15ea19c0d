"""The phases of a training with an adversary, and what they take beside the remedy itself.

The training is made longer by the first two phases, so that the third, in which detector and adversary learn together,
has the iterations of the plain detector.
"""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_bg._adversary import Phases, lengthened

DETECTOR, ADVERSARY = 0.2, 0.1  # shares of the longer training


def with_phases(cfg):
    """Lengthen the training of `cfg`; the node of the phases."""
    if cfg.model.roi_heads.region_features is None:  # else an adversary before this one has done so
        iterations = OmegaConf.to_container(cfg.train, resolve=False)["max_iter"]
        if isinstance(iterations, int):
            cfg.train.max_iter = lengthened(iterations, DETECTOR, ADVERSARY)
        else:  # a call, of epochs say: its value is known when the data are
            cfg.train.max_iter = L(lengthened)(_args_=[iterations, DETECTOR, ADVERSARY])
    cfg.train.find_unused_parameters = True  # in every phase some parameters get no gradient
    return L(Phases)(
        detector=DETECTOR, adversary=ADVERSARY, total="${train.max_iter}", accumulate="${train.accumulate}"
    )


def extra_iterations(cfg):
    """By how many iterations the training of `cfg` is longer than the plain detector's, or would be with the remedy."""
    from imbdet.config import instantiate

    total = instantiate(cfg.train.max_iter)
    has_phases = cfg.model.roi_heads.region_features is not None
    plain = round(total * (1 - DETECTOR - ADVERSARY)) if has_phases else total
    return lengthened(plain, DETECTOR, ADVERSARY) - plain


def foreground_per_image(cfg):
    """The most foreground regions of an image that the sampler keeps, 128 where it does not say."""
    sampler = OmegaConf.select(cfg, "model.roi_heads.criterion.region_sampler") or {}
    per_image, fraction = sampler.get("per_image"), sampler.get("fraction")
    return max(1, int(per_image * fraction)) if per_image and fraction else 128
