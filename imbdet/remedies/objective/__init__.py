"""Objective: several losses are summed, and one drowns the other.

Classification and box regression differ in size, in their number of terms and in how they shrink during training; a
plain sum lets the larger one set the direction.

The number that shows it: each loss over the iterations on one plot, and the norms of the gradient that each sends
into the shared layers.

Ways out: weights that are learned or follow the losses (slot `objective`), or one loss that is about both (slots
`classification` and `regression` together). `imbdet list_remedies --imbalance objective` lists what is here.
"""
