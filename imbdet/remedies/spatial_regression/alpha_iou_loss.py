"""alpha-IoU loss: every term of an IoU loss to a power, so that nearly right boxes get more of the gradient.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import BoxLoss, aspect_difference, aspect_weight, center_distance, empty_share, iou_and_union

#: smallest base of a power, as the gradient of x^alpha at 0 is infinite for alpha below 1
SMALLEST = 1e-9


def iou(predicted: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return IoU, then the penalties of the form: here none."""
    return (iou_and_union(predicted, target)[0],)


def giou(predicted: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    overlap, union = iou_and_union(predicted, target)
    return overlap, empty_share(predicted, target, union)


def diou(predicted: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    return iou_and_union(predicted, target)[0], center_distance(predicted, target)


def ciou(predicted: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    overlap, _ = iou_and_union(predicted, target)
    v = aspect_difference(predicted, target)
    return overlap, center_distance(predicted, target), aspect_weight(v, overlap) * v


FORMS = {"iou": iou, "giou": giou, "diou": diou, "ciou": ciou}


class AlphaIoULoss(BoxLoss):
    """IoU, GIoU, DIoU or CIoU with each term to the power alpha.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: He, Erfani, Ma, Bailey, Chi, Hua, 2021, arXiv 2110.13675, section 3
    Neutral: none that gives L1 on deltas; power=1 is the form itself, e.g. GIoULoss for form="giou"
    Differs: CIoU's alpha (the weight of the aspect ratio, not the power) has no gradient, as in CIoULoss; the authors'
        code adds 1e-9 under each power, here bases are cut off there; no loss weight is published for these
        detectors, so 10 on RoI heads (as IoU and GIoU) and 2 on RetinaNet (as mmdetection's dense detectors with GIoU)

        L = 1 - IoU^alpha + sum over the form's penalties of penalty^alpha

    giou: (C - U) / C;  diou: rho^2 / c^2;  ciou: rho^2 / c^2 and alpha_v v. With alpha = 3 the gradient with respect to
    the IoU is 3 IoU^2: above that of 1 - IoU from IoU 0.577 on, far below it for poor boxes.

    Args:
        power: alpha > 0; 3 in the paper.
        form: "iou", "giou", "diou" or "ciou".

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 20, 10]])
        >>> AlphaIoULoss(form="iou").between(a, b).item(), AlphaIoULoss(power=1.0, form="iou").between(a, b).item()
        (0.875, 0.5)
    """

    def __init__(self, power: float = 3.0, form: str = "ciou"):
        if power <= 0:
            raise ValueError(f"power must be positive, got {power}")
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        self.power = power
        self.terms = FORMS[form]

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        overlap, *penalties = (term.clamp(min=SMALLEST) ** self.power for term in self.terms(predicted, target))
        return sum(penalties, start=1 - overlap)
