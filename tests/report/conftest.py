"""A small run folder, as a training leaves it, the records it was evaluated on, and a comparison of such runs."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from imbdet.compare.structures import Arm, ArmResult, Comparison
from imbdet.data.datasets.shapes import shapes
from imbdet.evaluation import Detections, evaluate_coco
from imbdet.evaluation.significance import Difference

VOID = {"meta", "wbr", "link", "br", "img", "image", "use", "path", "rect", "hr"}


class Reader(HTMLParser):
    """Collects tags and attributes, and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, tag


@pytest.fixture(scope="session")
def read_page():
    """`read_page(path)` -> its tags and addresses; every element is closed."""

    def read(path):
        reader = Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        assert not reader.open, reader.open
        return reader

    return read


@pytest.fixture(scope="session")
def val_records():
    return shapes(split="val", num_images=12)


@pytest.fixture(scope="session")
def val_detections(val_records):
    """Every true box, moved by a tenth of its size, with falling scores; those of the last class are called class 0."""
    r = val_records
    keep = ~r.crowd
    xywh = r.xywh[keep].copy()
    xywh[:, 0] += 0.1 * xywh[:, 2]
    labels = np.where(r.labels[keep] == r.num_classes - 1, 0, r.labels[keep])
    scores = np.linspace(0.99, 0.5, len(labels))
    return Detections(r.image_ids[r.object_image[keep]], labels, scores, xywh, r.class_names)


@pytest.fixture(scope="session")
def evaluation(val_records, val_detections):
    return evaluate_coco(val_records, val_detections, shapes(split="train", num_images=60)).to_dict()


@pytest.fixture(scope="session")
def make_run_dir(evaluation):
    """`make(parent)` writes metrics.jsonl with two named criteria, result.json, environment.json and config.yaml."""

    def make(parent):
        folder = parent / "a <run>"
        folder.mkdir()
        lines = [train_line(i) for i in range(20, 101, 20)]
        lines += [{"iteration": 100, "split": "val", "AP/AP": 0.25, "AP/AP50": 0.5, "AP/APr": None}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "result.json").write_text(json.dumps({"iteration": 100, "metrics": {}, "evaluation": evaluation}))
        packages = {"torch": "2.9.0"}
        environment = {"time": "2026-11-23T08:00:00+00:00", "device": "cpu", "threads": 2, "packages": packages}
        (folder / "environment.json").write_text(json.dumps(environment))
        (folder / "config.yaml").write_text("train:\n  max_iter: 100\nremedies: [focal_loss]\n")
        return folder

    return make


@pytest.fixture
def run_dir(tmp_path, make_run_dir):
    return make_run_dir(tmp_path)


def train_line(iteration):
    """A report of training, with two criteria."""
    line = {"iteration": iteration, "split": "train", "loss/total": 3.0 / iteration}
    line |= {"loss/rpn_cls": 1.0 / iteration, "loss/cls": 2.0 / iteration}
    for name in ("rpn", "roi"):
        line |= {f"share/{name}_background": 0.75, f"share/{name}_foreground": 0.25}
        line |= {f"positives/{name}_per_image": 4.0, f"positives/{name}_level_0": 3.0}
        line |= {f"positives/{name}_level_1": 1.0, f"iou/{name}_before": [4, 2, 1], f"iou/{name}_after": [1, 2, 4]}
    return line


ODD = 'a<b> & "c"|d_{x} $y$ %#1~^\\ `z` --[*]'  #: a name that means something to HTML, Markdown, LaTeX and formulas
METRICS = "AP AP50 AP75 AP90 APs APm APl APr APc APf oLRP dCls dLoc dBoth dDupe dBkg dMiss".split()
#: of AP, for each verdict: mean, low, high, p_better, p_value, p_family, seeds_needed
SHOWN = {
    "better": (0.0123456789, 0.004, 0.0207, 0.9987, 0.0021, 0.0084, None),
    "worse": (-0.0212, -0.0301, -0.0123, 0.0, 0.00001, 0.00004, None),
    "no evidence": (0.0031, -0.004, 0.0102, 0.81, 0.37, 0.74, 17),
    "one seed: no claim": (0.005, None, None, None, None, None, None),
}


def make_arm(name, verdict="", seeds=(0, 1, 2, 3, 4), shift=0.0, **arm):
    """An arm whose metrics are 0.1, 0.13 ... plus `shift` and a seed's own part; APl is not defined."""
    result = ArmResult(Arm(name, **arm), seeds=list(seeds))
    for k, metric in enumerate(METRICS):
        values = [None if metric == "APl" else 0.1 + 0.03 * k + shift + 0.001234567 * s**2 for s in seeds]
        result.values[metric] = values
        result.means[metric] = None if metric == "APl" or not seeds else float(np.mean(values))
        several = metric != "APl" and len(seeds) > 1
        result.deviations[metric] = float(np.std(values, ddof=1)) if several else None
    if verdict:
        mean, low, high, p_better, p, p_family, needed = SHOWN[verdict]
        for metric in ("AP", "AP75", "APr"):
            result.differences[metric] = Difference(
                metric, mean, low, high, p_better, p, p_family, 0.0012, 0.0034, verdict, needed
            )
    result.cost = {"step_seconds": 0.25, "step_ratio": 1.0 + shift, "peak_memory_mib": 1234.5, "parameters": 17.25e6}
    result.cost |= {"seconds": 3725.0, "frequent_loss": 0.0042 if verdict else None}
    counts = (("car", 1000, "frequent"), ("b_us $1$", 100, "common"), ("<bike>", 10, "rare"))
    result.per_class = [
        {
            "name": n,
            "train_boxes": c,
            "group": g,
            "AP": 0.3 + shift,
            "sd": 0.01,
            "difference": shift if verdict else None,
        }
        for n, c, g in counts
    ]
    result.mechanism = [{"tag": "share/roi_<rare>", "baseline": 0.02, "arm": 0.05}] if verdict else []
    lines = {"iterations": [10, 20, 30], "mean": [3.0, 2.0, 1.5], "low": [2.9, 1.9, 1.4], "high": [3.1, 2.2, 1.7]}
    percent = {"iterations": [20, 30], "mean": [0.1, 0.2], "low": [0.09, 0.19], "high": [0.12, 0.21]}
    result.curves = {"loss/total": lines, "AP/AP": percent}
    return result


@pytest.fixture(scope="session")
def arm_of():
    return make_arm


@pytest.fixture(scope="session")
def comparison():
    """Every verdict, a control, an arm compared with a control, failures, odd names, and a metric without values."""
    failed = ArmResult(
        Arm("ghm", ("ghm",)), failures=[(s, "diverged: loss_cls <nan>\nat iteration 7") for s in range(5)]
    )
    some = make_arm("ohem", "worse", seeds=(0, 1, 2, 4), shift=-0.02, remedies=("ohem",))
    some.failures = [(3, "out of memory")]
    arms = [
        make_arm("baseline"),
        make_arm("_focal_loss", "better", shift=0.01, remedies=("focal_loss",)),
        make_arm(ODD, "no evidence", shift=0.003, overrides=("model.x=<1>",)),
        some,
        make_arm("baseline (loss scale)", "better", control_of="_focal_loss"),
        make_arm("baseline (200 more)", "no evidence", control_of="pretrained"),
        make_arm("pretrained", "better", compared_with="baseline (200 more)"),
        make_arm("tried once", "one seed: no claim", seeds=(2,)),
        failed,
    ]
    for result in arms[4:]:  # so that few plots are to be drawn
        result.curves, result.per_class = {}, []
    facts = [("date", "2026-05-04"), ("evaluator", "hotcoco 1.3.0 <x>"), ("command", "compare " + "--remedy a " * 9)]
    notes = ["ohem has 4 of 5 seeds & *no* more"]
    return Comparison(
        "Shapes <50> & more", "baselines/x_y", arms, [0, 1, 2, 3, 4], facts, notes, "rare: up to <20>", 1234
    )
