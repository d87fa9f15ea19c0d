"""IoU distribution: of the regions that count as positive, hardly any overlaps its object well.

Proposals above IoU 0.5 pile up just above 0.5. A head that trains on them is tuned to poor boxes, and raising the
limit instead leaves it too few.

The number that shows it: the histogram of IoU with the object over the positives, before and after regression (`iou/`
in TensorBoard), and AP at high IoU (AP75).

Ways out: several stages with rising limits (slots `matcher` and the RoI head), limits that follow the training, or
proposals drawn evenly over IoU (slot `proposals`). `imbdet list_remedies --imbalance spatial_iou` lists what is here.
"""
