"""The techniques compared with the baseline, and the learning rates with each other, seed by seed."""

from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from lenet5.support.params import BASELINE
from replication.analysis.exercise import counted_images
from replication.analysis.results import Outcome, Replicates
from replication.analysis.statistics import (
    Values,
    compare,
    crossed_intervals,
    describe,
    interval,
    new_training_interval,
    share_first,
    sign_flip_p,
)

# Accuracies and calibration errors in percent, losses in nats.
OUTCOMES: dict[str, Outcome] = {
    "test_accuracy": lambda replicate: 100 * replicate["test_accuracy"],
    "test_loss": lambda replicate: replicate["test_loss"],
    "calibration_error": lambda replicate: 100 * replicate["test_calibration_error"],
    "train_accuracy": lambda replicate: 100 * replicate["train_accuracy"],
    "chosen_epoch": lambda replicate: replicate["chosen_epoch"],
}
PRIMARY = "test_accuracy"
SECONDARY = ("test_loss", "calibration_error")
SIGNIFICANT = 0.05

Techniques = dict[str, Replicates]


def verdict(p_value: float, difference: float, equivalence_p: float | None) -> str:
    """Return the verdict of the analysis plan on a technique."""
    if p_value < SIGNIFICANT:
        return "helps" if difference > 0 else "hurts"
    return "no difference" if equivalence_p is not None and equivalence_p < SIGNIFICANT else "open"


def training_images(techniques: Techniques) -> int:
    """Return how many images the training accuracies count: the smallest number that they can be shares of. Of few runs
    with few digits, that can be a divisor of it."""
    return counted_images(run["train_accuracy"] for ours in techniques.values() for run in ours.by_seed.values())


def images_ratio(techniques: Techniques) -> float:
    """Return test images divided by training images, which the interval for another training set depends on."""
    return techniques[BASELINE].images / training_images(techniques)


def correct_p_values(results: list[dict[str, Any]], size: int) -> None:
    """Add `sign_flip_p_holm`, the p-values with Holm's correction (Scand. J. Stat. 6, 1979) over at least `size`."""
    p_values = [result["sign_flip_p"] for result in results]
    corrected = multipletests([*p_values, *[1.0] * (size - len(results))], method="holm")[1]
    for result, p_value in zip(results, corrected[: len(results)], strict=True):
        result["sign_flip_p_holm"] = float(p_value)


def common_seeds(replicates: Techniques) -> dict[str, list[int]]:
    """Return, for each technique but the baseline, the seeds with which neither run diverged, if there are two."""
    baseline = replicates[BASELINE].by_seed
    common = {name: [seed for seed in baseline if seed in ours.by_seed] for name, ours in replicates.items()}
    return {name: seeds for name, seeds in common.items() if name != BASELINE and len(seeds) > 1}


def against_baseline(replicates: Techniques, margin: float) -> dict[str, dict[str, Any]]:
    """Return the comparison of each technique with the baseline, with p-values corrected over these, and verdicts."""
    results = differences(replicates, margin)
    judge(list(results.values()), len(replicates) - 1)
    return results


def differences(replicates: Techniques, margin: float) -> dict[str, dict[str, Any]]:
    """Return the difference of each technique from the baseline, paired by seed, where neither run diverged."""
    baseline = replicates[BASELINE]
    results: dict[str, dict[str, Any]] = {}
    for technique, seeds in common_seeds(replicates).items():
        ours = replicates[technique]
        pairs = {name: (ours.values(of, seeds), baseline.values(of, seeds)) for name, of in OUTCOMES.items()}
        results[technique] = compare(*pairs[PRIMARY], margin)
        of_seeds = np.subtract(*pairs[PRIMARY])
        results[technique]["interval_new_training"] = new_training_interval(of_seeds, images_ratio(replicates))
        for name in SECONDARY:
            of_seeds = np.subtract(*pairs[name])
            results[technique][name] = {**mean_with_interval(of_seeds), "seeds_lower": int((of_seeds < 0).sum())}
    return results


def judge(family: list[dict[str, Any]], size: int) -> None:
    """Add to each result of a family its corrected p-value and its verdict. The family has at least `size` members: one
    that could not be compared counts with p = 1."""
    correct_p_values(family, size)
    for result in family:
        result["verdict"] = verdict(result["sign_flip_p_holm"], result["difference"], result["equivalence_p"])


def new_images_intervals(replicates: Techniques) -> dict[str, list[float]]:
    """Return the interval in points of each difference from the baseline over new seeds and new test images."""
    by_image = {
        technique: replicates[technique].correct(seeds).astype(np.int8) - replicates[BASELINE].correct(seeds)
        for technique, seeds in common_seeds(replicates).items()
    }
    intervals = crossed_intervals(by_image) if by_image else {}
    return {technique: [100 * bound for bound in bounds] for technique, bounds in intervals.items()}


def mean_with_interval(of_seeds: Values) -> dict[str, Any]:
    """Return the mean of one value per seed with its interval, as of a difference."""
    return {"difference": float(of_seeds.mean()), "interval": interval(of_seeds)}


def preferred_rates(replicates: dict[float, Techniques]) -> dict[str, int]:
    """Return, for each learning rate, how many pairs of technique and seed have their lowest validation loss there."""
    by_rate = {
        rate: {
            (technique, seed): run["validation_loss"]
            for technique, ours in techniques.items()
            for seed, run in ours.by_seed.items()
        }
        for rate, techniques in replicates.items()
    }
    common = set.intersection(*(set(losses) for losses in by_rate.values()))
    preferred = [min(by_rate, key=lambda rate: by_rate[rate][pair]) for pair in common]
    return {str(rate): preferred.count(rate) for rate in by_rate}


def across_rates(replicates: dict[float, Techniques]) -> dict[str, dict[str, Any]]:
    """Return, for each technique, over the seeds of all four cells:

    - interaction: its difference from the baseline at the lower rate, minus that at the higher rate
    - baseline_gain: how much better the baseline is at the lower rate
    - gain_minus_difference: that, minus the difference of the technique from the baseline at the lower rate
    """
    low, high = sorted(replicates)

    def mean(of_seeds: Values) -> dict[str, Any]:
        new_training = new_training_interval(of_seeds, images_ratio(replicates[low]))
        return {**mean_with_interval(of_seeds), "interval_new_training": new_training}

    results: dict[str, dict[str, Any]] = {}
    for technique in replicates[low]:
        cells = [replicates[rate][name] for rate in (low, high) for name in (technique, BASELINE)]
        seeds = [seed for seed in cells[0].by_seed if all(seed in cell.by_seed for cell in cells)]
        if technique == BASELINE or len(seeds) < 2:
            continue
        ours_low, baseline_low, ours_high, baseline_high = (cell.values(OUTCOMES[PRIMARY], seeds) for cell in cells)
        gain, interaction = baseline_low - baseline_high, (ours_low - baseline_low) - (ours_high - baseline_high)
        results[technique] = {
            "n": len(seeds),
            "interaction": {**mean(interaction), "sign_flip_p": sign_flip_p(interaction)},
            "baseline_gain": mean(gain),
            "gain_minus_difference": mean(gain - (ours_low - baseline_low)),
        }
    correct_p_values([result["interaction"] for result in results.values()], len(replicates[low]) - 1)
    return results


def described(ours: Replicates, outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """Return how many runs diverged and, if at least two did not, the statistics of each outcome."""
    enough = len(ours.by_seed) > 1
    return {"failures": ours.failures} | {name: describe(ours.values(of)) for name, of in outcomes.items() if enough}


def baseline_first(techniques: Techniques, others: list[str]) -> float | None:
    """Return the share of draws of one seed per technique in which none of the others is ahead of the baseline. None if
    there are no others."""
    ours, *theirs = (techniques[name].values(OUTCOMES[PRIMARY]) for name in (BASELINE, *others))
    return share_first(ours, theirs) if theirs else None


def without_seed(seed: int, techniques: Techniques) -> Techniques:
    """Return the replicates of all other seeds."""
    return {
        name: Replicates([run for run in ours.by_seed.values() if run["seed"] != seed])
        for name, ours in techniques.items()
    }
