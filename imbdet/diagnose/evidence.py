# ruff: noqa: E501
"""What docs/results says of each remedy; written by `python -m benchmarks.evidence --write`."""

#: {remedy: setting, difference in the primary metric with its interval, seeds, verdict}
EVIDENCE: dict[str, str] = {
    "balanced_softmax": "shapes, classes 50 to 1: APr -0.9 (-4.5 to +2.8, 3 seeds), no evidence (the baseline was still learning)",
    "class_aware_sampling": "shapes, classes 50 to 1: APr +5.6 (+1.4 to +9.8, 3 seeds), better (the baseline was still learning); shapes, classes 50 to 1, 1200 iterations: APr +3.5 (+2.2 to +4.7, 3 seeds), better (the baseline was still learning)",
    "class_targeted_copy_paste": "shapes, classes 50 to 1: APr +5.5 (+1.9 to +9.1, 3 seeds), better (the baseline was still learning); shapes, classes 50 to 1, 1200 iterations: APr +2.5 (+1.2 to +3.8, 3 seeds), better (the baseline was still learning)",
    "class_weights": "shapes, classes 50 to 1: APr +1.2 (-2.5 to +5.0, 3 seeds), no evidence (the baseline was still learning); shapes, classes 50 to 1, 1200 iterations: APr -1.3 (-3.0 to +0.4, 3 seeds), no evidence (the baseline was still learning)",
    "logit_adjusted_loss": "shapes, classes 50 to 1: APr -4.4 (-9.5 to +0.7, 3 seeds), no evidence (the baseline was still learning)",
    "repeat_factor_sampling": "shapes, classes 50 to 1: APr +3.1 (-0.6 to +6.8, 3 seeds), no evidence (the baseline was still learning); shapes, classes 50 to 1, 1200 iterations: APr +1.5 (-0.0 to +3.1, 3 seeds), no evidence (the baseline was still learning)",
    "seesaw": "shapes, classes 50 to 1: APr +1.1 (-2.7 to +4.8, 3 seeds), no evidence (the baseline was still learning)",
}
