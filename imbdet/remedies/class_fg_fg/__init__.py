"""Foreground against foreground: some classes have far more boxes than others.

The frequent classes give most of the gradient, and every one of their boxes teaches the rare classes' scores to be
low.

The number that shows it: boxes per class in the training set (the ratio of the most to the least frequent class, and
the images that hold each class: `imbdet check_data`), and after training AP of the rare, common and frequent groups
apart.

Ways out: show rare classes more often (slots `balance`, `image_sampler`), paste them in (`mix`), choose and weigh
regions by class (`region_sampler`, `weighting`), shift their logits (`classification`), or correct the scores after
training (`calibration`). Ratio of boxes and ratio of images differ: an image brings all its objects along, so more of a
rare class can bring even more of a frequent one. `imbdet list_remedies --imbalance class_fg_fg` lists what is here.
"""
