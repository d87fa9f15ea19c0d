"""The evidence on shapes: every grid of docs/results, one `imbdet compare` each, resumable.

    python -m benchmarks.evidence --list
    python -m benchmarks.evidence --grid class_ratio --jobs 2 --minutes 60
    python -m benchmarks.evidence --gpu --jobs 8

Each grid works in OUT/<grid> and leaves what judging needs in docs/results/<grid>: plan, results.jsonl, kept/, reports.
Where the work folder is gone, a grid goes on from there. Seed after seed is run, so whatever is finished compares all
arms. The trained detectors that arms begin from (`--start`) are shared by the grids of one OUT.
"""

import argparse
import csv
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
FOUND = ROOT / "imbdet" / "diagnose" / "evidence.py"
#: what a report says of a grid that is too short, and what is then said of each of its remedies
SPEED, TOO_SHORT = "this compares speed of learning", " (the baseline was still learning)"
#: what a grid is judged by later, relative to its folder; run folders and checkpoints are not kept
PUBLISHED = ("plan.json", "base.yaml", "results.jsonl", "balance.json", "kept", "tuning/plan.json", "tuning/base.yaml")
PUBLISHED += ("tuning/results.jsonl", "report.md", "report.csv", "classes.csv", "runs.csv", "curves.png")
#: one thread a run; pictures are rendered once, so a loader process would only cost memory
COMMON = ("train.num_threads=1", *(f"dataloader.{part}.num_workers=0" for part in ("train", "val", "test")))
BFLOAT16 = ("train.amp.enabled=true", "train.amp.dtype=bfloat16")


@dataclass(frozen=True)
class Grid:
    """One comparison.

    Attributes:
        claim: what the papers of its arms say, or what it is for. setting: the data in a few words. config: the
        baseline. arms: remedies and controls. dials: overrides of the data. primary: the metric named before.
        iterations: of the detector, chosen by the baseline's curve. tune: words of `--tune`. controls: whether
        loss-scale controls are added.
    """

    claim: str
    setting: str
    config: str
    arms: tuple[str, ...]
    dials: tuple[str, ...]
    primary: str
    iterations: int = 600
    tune: tuple[str, ...] = ("auto",)
    controls: bool = False


#: the best of 9 tries of the baseline (docs/results/tuned_two_stage); RetinaNet's tries are still to be made
TUNED = {"baselines/faster_rcnn_shapes": ("optimizer.lr=1e-3",)}
TWO_STAGE, ONE_STAGE = "baselines/faster_rcnn_shapes", "baselines/retinanet_shapes"
BALANCED = ("data.train.class_ratio=1",)
BOX_LOSSES = "smooth_l1_loss l2_loss iou_loss giou_loss diou_loss ciou_loss eiou_loss siou_loss alpha_iou_loss"
BOX_LOSSES += " bounded_iou_loss balanced_l1_loss kl_loss ghm_r dynamic_smooth_l1"

GRIDS = {
    "tuned_two_stage": Grid(
        "rate x weight of the box loss of Faster R-CNN, before anything is compared",
        "shapes of balanced classes",
        TWO_STAGE,
        (),
        BALANCED,
        "AP",
        tune=("optimizer.lr=1e-3,2e-3,4e-3", "model.roi_heads.criterion.regression_weight=0.4,1,2.5"),
    ),
    "tuned_one_stage": Grid(
        "rate x weight of the box loss of RetinaNet, before anything is compared",
        "shapes of balanced classes",
        ONE_STAGE,
        (),
        BALANCED,
        "AP",
        tune=("optimizer.lr=1e-3,2e-3,4e-3", "model.criterion.regression_weight=0.4,1,2.5"),
    ),
    "class_ratio": Grid(
        "more boxes, weight or margin for rare classes raise their AP (50 to 1 between classes)",
        "shapes, classes 50 to 1",
        TWO_STAGE,
        tuple(
            "repeat_factor_sampling class_aware_sampling random_over_sampling random_under_sampling class_weights "
            "effective_number balanced_softmax logit_adjusted_loss ldam seesaw eql_v2 class_targeted_copy_paste "
            "foreground_balanced_sampling crt".split()
        )
        + ("class_targeted_copy_paste+controls/seam",),
        ("data.train.class_ratio=50",),
        "APr",
        tune=(),
    ),
    "class_ratio_1200": Grid(
        "the gain of more boxes or weight for rare classes lasts when everything trains twice as long",
        "shapes, classes 50 to 1, 1200 iterations",
        TWO_STAGE,
        ("repeat_factor_sampling", "class_aware_sampling", "class_weights", "class_targeted_copy_paste")
        + ("class_targeted_copy_paste+controls/seam",),
        ("data.train.class_ratio=50",),
        "APr",
        iterations=1200,
        tune=(),
    ),
    "box_losses": Grid(
        "another loss of the boxes raises AP at high IoU (every loss of the table at its tuned weight)",
        "shapes of balanced classes",
        TWO_STAGE,
        tuple(BOX_LOSSES.split()),
        BALANCED,
        "AP90",
    ),
    "box_heads": Grid(
        "cascades and heads that know IoU raise AP at high IoU",
        "shapes of balanced classes",
        TWO_STAGE,
        ("cascade_rcnn", "iou_uniform_rois", "positive_roi_generator", "dynamic_label_assignment", "dfl", "sabl")
        + ("controls/class_agnostic", "iou_uniform_rois+controls/no_generated_boxes", "controls/no_appended_objects"),
        BALANCED,
        "AP90",
    ),
    "regions": Grid(
        "hard and balanced sampling of regions raises AP",
        "shapes with many distractors",
        TWO_STAGE,
        ("ohem", "hard_negative_mining", "iou_balanced_sampling", "instance_balanced_sampling", "softmax_focal_loss")
        + ("isr_p", "carl", "controls/all_regions", "controls/per_foreground"),
        (*BALANCED, "data.train.distractors=6", "data.val.distractors=6", "data.test.distractors=6"),
        "AP",
    ),
    "occlusion": Grid(
        "an adversary that hides features makes the detector robust against occlusion",
        "shapes, half of the test objects partly hidden",
        TWO_STAGE,
        ("adversarial_spatial_dropout", "adversarial_spatial_transformer")
        + ("adversarial_spatial_dropout+controls/random_cells", "adversarial_spatial_dropout+controls/fixed_adversary"),
        (*BALANCED, "data.test.covered=0.5"),
        "AP",
        tune=(),
    ),
    "noisy_boxes": Grid(
        "a loss that knows its uncertainty is robust against noisy boxes",
        "shapes with noisy boxes (mean IoU 0.7)",
        TWO_STAGE,
        ("kl_loss", "smooth_l1_loss", "l2_loss", "giou_loss", "balanced_l1_loss"),
        (*BALANCED, "data.train.label_noise=0.7"),
        "AP",
    ),
    "background": Grid(
        "losses that damp easy background raise AP where background is a thousand times as frequent",
        "shapes with many distractors",
        ONE_STAGE,
        ("focal_loss", "ghm_c", "quality_focal_loss", "varifocal_loss", "hard_negative_mining", "guided_loss"),
        (*BALANCED, "data.train.distractors=6", "data.val.distractors=6", "data.test.distractors=6"),
        "AP",
    ),
    "hierarchical_shot": Grid(
        "Hierarchical Shot Detector raises AP at high IoU",
        "shapes of balanced classes",
        ONE_STAGE,
        ("hierarchical_shot",),
        BALANCED,
        "AP90",
        iterations=1600,
        tune=("optimizer.lr=1e-3,2e-3,4e-3",),
    ),
}


def command(name: str, out: Path, jobs: int, seeds: str, gpu: bool, overrides: Sequence[str] = ()) -> list[str]:
    """Return the words after `imbdet compare` of one grid."""
    grid = GRIDS[name]
    precision = BFLOAT16 if grid.config == TWO_STAGE or gpu else ()
    words = ["--config", grid.config, "--start", f"{grid.config}_start", "--draw-data", "--split", "test"]
    words += [word for arm in grid.arms for word in ("--remedy", arm)]
    words += [word for text in grid.tune for word in ("--tune", text)]
    words += ["--primary", grid.primary, "--seeds", seeds, "--jobs", str(jobs), "--out", str(out / name)]
    words += [] if grid.controls else ["--no-controls"]
    words += [f"train.max_iter={grid.iterations}", f"train.eval_period={grid.iterations // 4}"]
    tuned = () if any("optimizer.lr=" in text for text in grid.tune) else TUNED.get(grid.config, ())
    return [*words, *grid.dials, *COMMON, *precision, *tuned, *(["train.device=cuda"] if gpu else []), *overrides]


def share_starts(name: str, out: Path) -> int:
    """Copy the detectors that other grids of the same baseline began from; how many."""
    count = 0
    for part in ("init", "tuning/init"):
        for other, grid in GRIDS.items():
            for path in (out / other / part).glob("start_seed_*.pth"):
                mine = out / name / part / path.name
                if grid.config == GRIDS[name].config and not mine.exists():
                    mine.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, mine)
                    count += 1
    return count


def carry(source: Path, target: Path) -> None:
    """Copy what a grid is judged by, where it exists."""
    for part in PUBLISHED:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        elif (source / part).is_file():
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / part, target / part)


def run(name: str, words: list[str], out: Path, seconds: float | None) -> int:
    """Run one grid for at most so long, and keep what there is of it; the exit code, 0 where time was up."""
    if not (out / name / "results.jsonl").is_file():
        carry(RESULTS / name, out / name)
    share_starts(name, out)
    print(f"\n{name}: {GRIDS[name].claim}\n  imbdet compare {shlex.join(words)}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "imbdet.cli", "compare", *words], cwd=ROOT)
    try:
        code = process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as end:
        process.send_signal(signal.SIGINT)  # its runs write their checkpoints
        code = process.wait()
        code = 0 if isinstance(end, subprocess.TimeoutExpired) else code
    carry(out / name, RESULTS / name)
    return code


def findings(results: Path) -> dict[str, list[str]]:
    """Return what the reports in `results` say of each remedy by the primary metric of its grid, one line a grid.

    Arms of one seed, of several remedies, and controls say nothing about a remedy.
    """
    found: dict[str, list[str]] = {}
    for name, grid in GRIDS.items():
        path, report = results / name / "report.csv", results / name / "report.md"
        short = report.is_file() and SPEED in report.read_text(encoding="utf-8")
        rows = list(csv.DictReader(open(path, encoding="utf-8"))) if path.is_file() else []
        for row in rows:
            alone = row["verdict"] and not row["control_of"] and row["arm"] in remedy_names_of(grid)
            if row["metric"] == grid.primary and alone and int(row["seeds"]) > 1:
                points = [f"{100 * float(row[key]):+.1f}" for key in ("difference", "low", "high")]
                found.setdefault(row["arm"], []).append(
                    f"{grid.setting}: {grid.primary} {points[0]} ({points[1]} to {points[2]}, {row['seeds']} seeds), "
                    f"{row['verdict']}{TOO_SHORT if short else ''}"
                )
    return found


def remedy_names_of(grid: Grid) -> list[str]:
    """Return the arms that are one shipped remedy."""
    return [arm for arm in grid.arms if "+" not in arm and "/" not in arm]


def write_findings(results: Path, path: Path) -> None:
    """Write them as the module that `imbdet diagnose` reads."""
    said = {name: "; ".join(lines) for name, lines in sorted(findings(results).items())}
    lines = [
        "# ruff: noqa: E501",
        '"""What docs/results says of each remedy; written by `python -m benchmarks.evidence --write`."""',
        "",
        "#: {remedy: setting, difference in the primary metric with its interval, seeds, verdict}",
        "EVIDENCE: dict[str, str] = {" + ("" if said else "}"),
        *(f"    {json.dumps(name)}: {json.dumps(line)}," for name, line in said.items()),
        *(["}"] if said else []),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence",
        description="Run the grids of docs/results, or go on with them.",
        epilog="example:\n  python -m benchmarks.evidence --grid class_ratio --seeds 2 --jobs 2 --minutes 60",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--grid", action="append", choices=list(GRIDS), help="these (repeatable); all by default")
    parser.add_argument("--seeds", default="5", help="how many, or which (0,3,7); default: 5")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once (2)")
    parser.add_argument("--minutes", type=float, help="stop a grid after so long; the same command goes on")
    parser.add_argument("--gpu", action="store_true", help="on a GPU, in bfloat16 (not run on a GPU yet)")
    parser.add_argument("--out", default="output/evidence", help="work folder in the checkout (output/evidence)")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--write", action="store_true", help="write what was found for imbdet diagnose, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="set keys in all arms, for a trial")
    args = parser.parse_args(argv)
    if args.write:
        write_findings(RESULTS, FOUND)
        return 0
    codes = []
    for name in args.grid or GRIDS:
        words = command(name, Path(args.out), args.jobs, args.seeds, args.gpu, args.overrides)
        if args.list:
            print(f"{name}: {GRIDS[name].claim}\n  imbdet compare {shlex.join(words)}")
        else:
            codes.append(run(name, words, ROOT / args.out, args.minutes and 60 * args.minutes))
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
