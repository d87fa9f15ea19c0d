"""Coverage of the intervals of a comparison, and what it can find, by simulation.

    python benchmarks/coverage_of_intervals.py --data-sets 1000

Each simulated comparison has arms that do not differ: y_as = t_s + e_as, with seeds of a standard deviation of 2 (which
must not matter) and residual variances as the scenario says. For every scenario: coverage of the 95 % interval, mean
over arms and for the noisiest arms; how often any arm is falsely found (nominal 5 %). Then the smallest difference that
is found with a power of 80 %, beside a paired t test of each arm with Holm's correction.
"""

import argparse

import numpy as np
from scipy import optimize, stats

from imbdet.evaluation.noise import (
    ARM_DF,
    LEVELS,
    REFERENCE_DF,
    Noise,
    detectable,
    draw_errors,
    draw_variances,
    level_of,
    noise_of,
)


def scenarios(arms: int) -> dict[str, np.ndarray]:
    """Name -> (1 + arms,) residual variances, the baseline's first."""
    equal = np.ones(arms + 1)
    found = {"equal": equal}
    if arms > 1:
        one, third = equal.copy(), equal.copy()
        one[-1], third[-max(arms // 3, 1) :] = 9, 9
        found |= {"one arm 9": one, "a third 9": third}
        found |= {"1 to 9, baseline 3": np.r_[3, np.geomspace(1, 9, arms)]}
        found |= {"baseline 9": np.r_[9, np.ones(arms)]}
    return found


def simulate(variances: np.ndarray, seeds: int, data_sets: int, seed_sd: float = 2.0, kept: int = 400) -> dict:
    """-> {"coverage": mean over arms, "noisiest": of the arms of largest variance, "false": share of comparisons}.

    One chain for each data set, as long as it takes; with one arm, where no chain is needed, `noise_of` itself.
    """
    rng = np.random.default_rng(0)
    arms = len(variances) - 1
    pairs, common = [(arm, 0) for arm in range(1, arms + 1)], np.ones((arms, seeds), dtype=bool)
    noise = rng.standard_normal((data_sets, arms + 1, seeds)) * np.sqrt(variances)[:, None]
    values = noise + seed_sd * rng.standard_normal((data_sets, 1, seeds))
    free = np.r_[REFERENCE_DF, np.full(arms, ARM_DF)]
    drawn_sets = draw_variances(values, free, rng, 50, kept) if arms > 1 else [None] * data_sets
    every = np.ones(arms)
    known = (level_of(LEVELS, seeds, arms) * every, seeds * every, every)
    covered, false = np.zeros(arms), 0
    for one, drawn in zip(values, drawn_sets, strict=True):
        if drawn is None:
            judged = noise_of(one, pairs)
        else:
            judged = Noise(*draw_errors(drawn, pairs, common, rng), *known)
        differences = abs((one[1:] - one[0]).mean(axis=1))
        covered += judged.p_values(differences) >= 0.05
        false += (judged.family_p_values(differences) <= 0.05).any()
    coverage = covered / data_sets
    noisiest = coverage[variances[1:] == variances[1:].max()].mean()
    return {"coverage": coverage.mean(), "noisiest": noisiest, "false": false / data_sets}


def detectable_by_t_and_holm(seeds: int, arms: int, power: float = 0.8) -> float:
    """Smallest difference that the first step of Holm's correction of paired t tests finds, residual sd 1."""
    limit, deviation = stats.t.isf(0.025 / arms, seeds - 1), np.sqrt(2 / seeds)

    def missing(difference: float) -> float:
        return stats.nct.sf(limit, seeds - 1, difference / deviation) - power

    return optimize.brentq(missing, 0, 100 * limit * deviation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=400, help="simulated comparisons a scenario")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--arms", type=int, nargs="+", default=[1, 4, 12, 40])
    args = parser.parse_args()
    print("| seeds | arms | residual variances | coverage | of the noisiest | any false finding |")
    print("|---|---|---|---|---|---|")
    for seeds in args.seeds:
        for arms in args.arms:
            for name, variances in scenarios(arms).items():
                for effect in (0.0, 2.0) if name == "equal" else (2.0,):
                    found = simulate(variances, seeds, args.data_sets, effect)
                    label = name if effect else f"{name}, no effect of seeds"
                    row = " | ".join(f"{100 * found[key]:.1f} %" for key in ("coverage", "noisiest", "false"))
                    print(f"| {seeds} | {arms} | {label} | {row} |", flush=True)
    print("\n| seeds | arms | found with 80 % power | by paired t and Holm | ratio |\n|---|---|---|---|---|")
    for seeds in args.seeds:
        for arms in args.arms:
            ours, other = detectable(seeds, arms), detectable_by_t_and_holm(seeds, arms)
            print(f"| {seeds} | {arms} | {ours:.1f} sd | {other:.1f} sd | {ours / other:.2f} |", flush=True)


if __name__ == "__main__":
    main()
