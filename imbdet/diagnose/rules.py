"""Section 9, what to try: the table that leads from a measure to remedies.

A rule applies where its measure, a place in `Diagnosis.sections`, is above (or below) its limit. Its words say why the
measure may matter and what would refute that, its remedies are those that act on the cause; how well they work is not
in this table but in `evidence.py`, written from docs/results, and a finding never says more than that. No rule applies:
nothing to do is an answer.

To add a rule, add a row. `imbdet compare` decides whether a remedy helps on the data at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .evidence import EVIDENCE
from .structures import Finding, Remedy

UNKNOWN = "not measured under the present protocol"


@dataclass(frozen=True)
class Rule:
    """One row.

    measure: the path of a number in the sections, "*" is the training split. says: the finding in words, with {value},
    {percent} or {points}. below: the rule applies below its limit, not above.
    """

    name: str
    section: str
    measure: str
    limit: float
    source: str
    says: str
    reason: str
    refuted_by: str
    remedies: tuple[str, ...]
    below: bool = False


RULES = (
    Rule(
        "class imbalance",
        "classes",
        "classes.imbalance.*.ratio",
        10,
        "our choice: the ratio of LVIS's limit between common and rare, 100 to 10 images",
        "The most frequent class has {value} times the boxes of the least frequent one.",
        "Frequent classes make most of the loss, and rare ones are hardly ever positives.",
        "AP does not rise with a class's training boxes (section 8, rank correlation near 0 or below)",
        (
            "repeat_factor_sampling",
            "class_aware_sampling",
            "class_weights",
            "effective_number",
            "class_targeted_copy_paste",
        ),
    ),
    Rule(
        "rare with frequent",
        "classes",
        "classes.co_occurrence.rarest_with_most_frequent",
        0.5,
        "our choice: more than half",
        "{percent} of the rarest class's images hold the most frequent class, too.",
        "Repeating images repeats both (Wu et al. 2020, arXiv 2007.09654), so plain over-sampling changes the ratio "
        "little.",
        "the ratio of boxes after repeat factors (the sampler prints it) has fallen as far as intended",
        ("co_occurrence_sampling", "instance_aware_repeat_factor", "class_targeted_copy_paste"),
    ),
    Rule(
        "background",
        "foreground",
        "foreground.kept_negatives_per_positive",
        100,
        "Lin et al. 2017, arXiv 1708.02002: one-stage detectors see about 1000 negatives to a positive; here a tenth",
        "After the sampler there are {value} negatives for each positive anchor.",
        "Easy background may make most of the loss.",
        "background makes less than half of the classification loss and gradient (section 2, measured in a run)",
        ("focal_loss", "ghm_c", "hard_negative_mining", "quality_focal_loss"),
    ),
    Rule(
        "background in the loss",
        "run",
        "run.background_share",
        0.5,
        "our choice: more than half",
        "Background holds {percent} of the classification loss of a stage.",
        "The gradient of the few positives drowns in that of the background.",
        "the share of the gradient is below half where that of the loss is above (section 2)",
        ("focal_loss", "ohem", "ghm_c"),
    ),
    Rule(
        "smaller than a cell",
        "size",
        "size.resizes.the config's own resize.below_stride",
        0.05,
        "our choice: 5 % of the objects",
        "{percent} of the objects are smaller than a cell of the finest level after the config's resize.",
        "Below a cell there is no feature of an object's own. A larger resize costs time, and is no remedy by name: "
        "set dataloader.*.resize or the augment's short_edge_length. `tiling` shows objects larger; evaluate it "
        "with --tiles.",
        "AP of small objects does not rise with a larger resize at equal iterations",
        ("tiling", "balanced_feature_pyramid"),
    ),
    Rule(
        "anchors do not fit",
        "iou",
        "iou.below",
        0.3,
        "our choice: 30 % of the objects below the matcher's own IoU",
        "{percent} of the objects have no anchor of the matcher's foreground IoU.",
        "Such objects have one positive at best, and the regression must move it far. Anchor sizes and ratios are a "
        "setting of the config (model.anchors or model.rpn.anchors).",
        "their recall in a run is that of the other objects (section 8, TIDE's Miss is small)",
        ("iou_balanced_sampling", "cascade_rcnn"),
    ),
    Rule(
        "outliers rule the loss",
        "regression",
        "regression.own.gradient.2",
        0.4,
        "our choice: a tenth of the errors holds four times its share",
        "The largest 10 % of the errors hold {percent} of the gradient of the config's regression loss.",
        "A loss that grows with the error is ruled by few, often wrong, boxes; those nearly right teach little.",
        "AP at IoU 0.9 does not change with the regression loss",
        ("balanced_l1_loss", "ghm_r", "giou_loss"),
    ),
    Rule(
        "badly placed boxes",
        "run",
        "run.tide.delta.Loc",
        0.05,
        "our choice: 5 points of AP50",
        "Boxes that are off cost {points} points of AP50.",
        "The positives' IoU is spread towards the lower end, so that the detector learns from poor boxes.",
        "mean IoU after regression (section 5) is no higher with the remedy",
        ("cascade_rcnn", "giou_loss", "balanced_l1_loss", "iou_balanced_sampling"),
    ),
    Rule(
        "places",
        "place",
        "place.known_fractal_dimension",
        1.5,
        "our choice: below LVIS's mean of 1.64 (arXiv 2410.11774)",
        "Objects lie in few places: the mean fractal dimension of the classes with enough boxes is {value}.",
        "A detector learns where objects are instead of what they are; pictures from elsewhere then fail.",
        "AP in the middle and outside of it are alike (section 8)",
        (),
        below=True,
    ),
    Rule(
        "crowding",
        "overlap",
        "overlap.splits.*.lost_to_nms",
        0.02,
        "our choice: 2 % of the objects",
        "{percent} of the objects overlap one of their class by more than the suppression allows.",
        "Suppression removes one of two right detections. Raise model.nms_threshold; no remedy here acts on it.",
        "AP of crowded objects (section 8) is that of the others",
        (),
    ),
    Rule(
        "leak",
        "overlap",
        "overlap.largest_leak",
        0.0,
        "any",
        "{percent} of the pictures of a held-out split have a near-duplicate in the training split.",
        "What is measured there is memory; no remedy can be judged. Split anew with near-duplicates together.",
        "the pictures (section 7) are not of the same scene",
        (),
    ),
)


def advise(sections: dict[str, Any], train: str, command: Callable[[str], str | None]) -> list[Finding]:
    """The findings of all rules that apply, in the order of the table.

    Args:
        sections: as of `Diagnosis.sections`. train: the name of the training split.
        command: remedy -> the command that tries it, None where the config has no place for it.
    """
    found = []
    for rule in RULES:
        value = look_up(sections, rule.measure, train)
        if value is None or (value >= rule.limit if rule.below else value <= rule.limit):
            continue
        remedies = [(name, command(name)) for name in rule.remedies]
        found.append(
            Finding(
                rule=rule.name,
                section=rule.section,
                says=rule.says.format(
                    value=_words(value), percent=f"{_words(100 * value)} %", points=_words(100 * value)
                ),
                measure=rule.measure.replace("*", train),
                value=float(value),
                limit=rule.limit,
                source=rule.source,
                reason=rule.reason,
                refuted_by=rule.refuted_by,
                remedies=tuple(Remedy(name, line, EVIDENCE.get(name, UNKNOWN)) for name, line in remedies if line),
            )
        )
    return found


def look_up(sections: dict[str, Any], path: str, train: str) -> float | None:
    """The number at a path such as "classes.imbalance.*.ratio"; None where it is not there."""
    node: Any = sections
    for key in path.split("."):
        key = train if key == "*" else key
        if isinstance(node, Sequence) and not isinstance(node, str):
            node = node[int(key)] if int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, dict) else None
        if node is None:
            return None
    return node if isinstance(node, (int, float)) and node == node else None


def _words(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
