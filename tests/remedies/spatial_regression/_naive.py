"""The geometry of two boxes (lists of four numbers) in plain Python."""

import math


def iou_of(p, t):
    """IoU, union in plain Python."""
    common = max(0.0, min(p[2], t[2]) - max(p[0], t[0])) * max(0.0, min(p[3], t[3]) - max(p[1], t[1]))
    union = (p[2] - p[0]) * (p[3] - p[1]) + (t[2] - t[0]) * (t[3] - t[1]) - common
    return common / union, union


def hull_of(p, t):
    """Width, height of the smallest box around both."""
    return max(p[2], t[2]) - min(p[0], t[0]), max(p[3], t[3]) - min(p[1], t[1])


def offset_of(p, t):
    """x, y from center to center."""
    return (p[0] + p[2] - t[0] - t[2]) / 2, (p[1] + p[3] - t[1] - t[3]) / 2


def distance_of(p, t):
    """DIoU's penalty."""
    (dx, dy), (wc, hc) = offset_of(p, t), hull_of(p, t)
    return (dx**2 + dy**2) / (wc**2 + hc**2)


def aspect_of(p, t):
    """CIoU's v."""
    angles = [math.atan((b[2] - b[0]) / (b[3] - b[1])) for b in (p, t)]
    return 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
