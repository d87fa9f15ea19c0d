"""Object location: anchors lie on an even grid, objects do not.

Most grid points never see an object; some objects fall between points, or are of a shape no anchor has, and get no or
only one positive region.

The number that shows it: positives per object (how many objects have none), and AR against AP: what is missed at any
score.

Ways out: place anchors where objects are, or choose for each object which regions learn it (slots `proposals`,
`matcher`). `imbdet list_remedies --imbalance spatial_location` lists what is here.
"""
