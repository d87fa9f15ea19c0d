"""Class-balanced weights: a class counts by the inverse of its effective number of boxes, which saturates.

Letters: K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


class EffectiveNumber:
    """Weighs classes by 1 / effective number: among rare classes as inverse frequency, among frequent ones not at all.

    Slot: weighting
    Imbalance: class_fg_fg
    Home: either
    Source: Cui, Jia, Lin, Song, Belongie 2019, arXiv 1901.05555, proposition 1
    Neutral: beta=0, with which every box is as good as any number of them and all weights are 1
    Differs: written for image classification; here n_c counts boxes, background keeps the weight 1, and the mean of the
        weights over the train boxes is 1 (the source: their sum over classes is K, `mean_over_boxes=False`)

    The source takes each new box of a class to be a copy of what is known with a probability that grows with their
    number, so that n_c boxes are worth

        E_c = (1 - beta^n_c) / (1 - beta),    v_c = 1 / E_c

    E_c is n_c where n_c is far below 1 / (1 - beta), and tends to 1 / (1 - beta) above it: with beta = 0.999, classes
    of 5,000 and of 50,000 boxes weigh about the same, and one of 50 about 20 times as much. It is a rule of
    `ClassWeights` (class_weights.py), which scales and applies the v_c.

    Args:
        beta: in 0..1, 1 excluded. The source tries 0.9, 0.99, 0.999 and 0.9999; take 1 / (1 - beta) near the number of
            boxes at which more of them teach little that is new.

    Example:
        >>> from imbdet.remedies.class_fg_fg.class_weights import ClassWeights
        >>> [round(w, 3) for w in ClassWeights([1000, 100], ["circle", "star"], EffectiveNumber(0.99)).table.tolist()]
        [0.95, 1.499, 1.0]
    """

    def __init__(self, beta: float = 0.999):
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be in 0 (no weights) .. 1 exclusive, e.g. 0.999, got {beta}")
        self.beta = beta

    def __call__(self, counts: Tensor, class_names: Sequence[str]) -> Tensor:
        """(K,) float64, K names -> (K,)."""
        # expm1: 1 - beta^n loses its digits where beta is close to 1
        grown = -torch.expm1(counts * torch.log(torch.tensor(self.beta, dtype=torch.float64)))
        return (1 - self.beta) / grown

    def __str__(self) -> str:
        return f"1 / effective number (beta {self.beta:g})"
