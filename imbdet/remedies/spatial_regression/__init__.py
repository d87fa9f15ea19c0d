"""Regression loss: a few badly placed boxes dominate, or many nearly right ones hardly count.

With a squared error the outliers rule; with an absolute error each box pulls equally, however good it is already; and
neither is what AP measures, which is IoU.

The number that shows it: the distribution of the regression loss over the positives (what share the worst tenth
holds), and AP75 against AP50: boxes that are found but not tight.

Ways out: another shape of the loss, on the deltas or on the IoU of the boxes (slot `regression`). A new shape changes
the size of the loss as well; compare at equal size (`loss_scale=match`), or the weight is what is measured.
`imbdet plot_losses` draws the shapes, `imbdet list_remedies --imbalance spatial_regression` lists what is here.
"""
