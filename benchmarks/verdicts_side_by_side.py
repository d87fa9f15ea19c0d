"""Verdicts of one runs.csv by a paired t test of each arm with Holm's correction, and by all arms together.

    python benchmarks/verdicts_side_by_side.py docs/results/history/class_ratio_50/runs.csv

runs.csv holds no draws of the images, so both judge the noise of seeds alone. Controls are the arms called "baseline
(...)", and those named by --control.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import stats

from imbdet.evaluation.noise import residual_sd
from imbdet.evaluation.significance import Sample, judge_samples


def read(path: Path, metric: str) -> dict[str, dict[int, float]]:
    """{arm: {seed: value}} of a runs.csv."""
    found: dict[str, dict[int, float]] = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] == metric and row["value"]:
                found.setdefault(row["arm"], {})[int(row["seed"])] = float(row["value"])
    return found


def holm(p_values: list[float]) -> list[float]:
    """Holm 1979: the i-th smallest of k p values times k - i + 1, at least as large as those before, at most 1."""
    order, k = np.argsort(p_values, kind="stable"), len(p_values)
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(k, 0, -1)), 1)
    return corrected[np.argsort(order)].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--metric", default="AP")
    parser.add_argument("--control", nargs="*", default=["class_agnostic"])
    args = parser.parse_args()
    values = read(args.runs, args.metric)
    arms = [arm for arm in values if arm != "baseline"]
    controls = frozenset(arm for arm in arms if arm.startswith("baseline (") or arm in args.control)
    sample = Sample(values, dict.fromkeys(arms, "baseline"), controls=controls)
    found = judge_samples({args.metric: sample}, args.metric)[args.metric]
    corrected = holm([float(stats.ttest_1samp(sample.differences(arm), 0).pvalue) for arm in arms])
    print("| arm | difference | t and Holm: p | verdict | simultaneous interval | p | verdict |")
    print("|---|---|---|---|---|---|---|")
    for arm, old in zip(arms, corrected, strict=True):
        one = found[arm]
        before = "no evidence" if old > 0.05 else "better" if one.mean > 0 else "worse"
        name = f"{arm} (control)" if arm in controls else arm
        interval = f"{100 * one.low:+.1f} to {100 * one.high:+.1f}"
        row = (name, f"{100 * one.mean:+.1f}", f"{old:.3f}", before, interval, f"{one.p_family:.3f}", one.verdict)
        print(f"| {' | '.join(row)} |")
    print(f"\nResidual standard deviation of a run: {100 * residual_sd(sample.matrix()):.2f} points")


if __name__ == "__main__":
    main()
