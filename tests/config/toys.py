"""Things that toy configs name; they record how they were called."""


class Part:
    """Takes any keyword and keeps it."""

    def __init__(self, **kwargs):
        self.kwargs = kwargs


class Dropout(Part):
    """Acts on the features of regions.

    Slot: region_features
    """


class Model:
    def __init__(self, criterion=None, roi_heads=None, neck=None, width=8):
        self.criterion, self.roi_heads, self.neck, self.width = criterion, roi_heads, neck, width


class Criterion:
    def __init__(self, classification=None, region_sampler=None, weighting=None, scale=1.0):
        self.classification, self.region_sampler, self.weighting = classification, region_sampler, weighting


class CrossEntropy:
    pass


class Focal:
    def __init__(self, gamma=2.0, alpha=0.25):
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.gamma, self.alpha = gamma, alpha


class KeepAll:
    pass


def takes_pair(first, second=(1, 2)):
    return first, second


def takes_name(name: str | None = "a", other: str = "b"):
    return name, other


def missing_file():
    open("/nonexistent/weights.pth")  # noqa: SIM115


def broken():
    raise KeyError("a defect, not a user's mistake")


class Outer:
    """Builds its part itself."""

    def __init__(self, part):
        from imbdet.config import instantiate

        self.part = instantiate(part)
