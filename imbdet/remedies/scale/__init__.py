"""Scale: sizes of objects are uneven, and the levels of the pyramid are unevenly served.

Small objects have fewer positive regions and fewer pixels; low levels of a pyramid lack meaning, high levels lack
place.

The number that shows it: the distribution of object sizes in pixels of the network input, positives per level
(`positives/level_*` in TensorBoard), and APs, APm, APl apart.

Ways out: train on several sizes or on parts that come larger (slot `augment`), put pictures of other sizes in (slot
`mix`), or mix the levels of the pyramid anew (slot `neck`). `imbdet list_remedies --imbalance scale` lists what
is here.
"""
