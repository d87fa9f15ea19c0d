"""Remedies: one imbalance = one folder, one remedy = one file.

    class_fg_bg         far more background than objects
    class_fg_fg         some classes far more frequent than others
    spatial_regression  a few boxes dominate the regression loss
    spatial_iou         hardly any region overlaps its object well
    spatial_location    regions crowd at some places and miss others
    scale               sizes, and the levels of the pyramid, unevenly served
    objective           one loss drowns the other

Each folder's docstring says what the imbalance is and which number shows it; `imbdet list_remedies` lists all.
"""
