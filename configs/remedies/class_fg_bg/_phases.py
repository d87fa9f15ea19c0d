"""The phases of a training with an adversary, and what they take beside the remedy itself.

The detector has as many updates as without a remedy; the steps in which only the adversary learns come on top.
"""

from omegaconf import OmegaConf

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_bg._adversary import Phases

DETECTOR, ADVERSARY = 0.2, 0.1  # shares of train.max_iter


def with_phases(cfg):
    """The node of the phases; `cfg` is told that in every phase some parameters get no gradient."""
    cfg.train.find_unused_parameters = True
    return L(Phases)(
        detector=DETECTOR, adversary=ADVERSARY, total="${train.max_iter}", accumulate="${train.accumulate}"
    )


def foreground_per_image(cfg):
    """The most foreground regions of an image that the sampler keeps, 128 where it does not say."""
    sampler = OmegaConf.select(cfg, "model.roi_heads.criterion.region_sampler") or {}
    per_image, fraction = sampler.get("per_image"), sampler.get("fraction")
    return max(1, int(per_image * fraction)) if per_image and fraction else 128
