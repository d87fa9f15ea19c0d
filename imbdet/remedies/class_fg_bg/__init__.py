"""Foreground against background: nearly every region that a detector scores is background.

A one-stage detector scores some 100,000 anchors an image, of which tens are objects; summed up, the many easy
background regions outweigh the few objects in the loss, and the detector learns to say "nothing here".

The number that shows it: positives per image against all regions, and the share of the classification loss that falls
on background (`positives/per_image` and `share/background` in TensorBoard).

Ways out: take part in the loss only if hard (a weight or mask: slots `region_sampler`, `weighting`), count less if
easy (slot `classification`), or rank instead of classify. `imbdet list_remedies --imbalance class_fg_bg` lists what
is here.
"""
