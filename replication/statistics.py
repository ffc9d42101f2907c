"""What replicates say: intervals and tests over seeds, and over seeds and images.

Values are one number a seed; two techniques are compared seed by seed, for equal seeds mean the same split, the same
start and the same order of images. Random resamples are drawn with a seed of their own, so equal data give equal bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

Values = NDArray[np.float64]
Interval = list[float]

CONFIDENCE = 0.95
RESAMPLES = 9_999
EXACT = 2**16  # sign patterns; with more than 16 seeds as many random ones are drawn


def describe(values: Values) -> dict[str, Any]:
    """Of one number a seed, two at least: mean with Student's interval, standard deviation, median and extremes."""
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - CONFIDENCE)
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "interval": [float(low), float(high)],
        "standard_deviation": float(values.std(ddof=1)),
        "median": float(np.median(values)),
        "worst": float(values.min()),
        "best": float(values.max()),
    }


def bca_interval(differences: Values) -> Interval:
    """Of the mean: bias-corrected and accelerated bootstrap (Efron, J. Am. Stat. Assoc. 82, 1987)."""
    if np.ptp(differences) == 0:
        return [float(differences[0])] * 2
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=_random()
    ).confidence_interval
    return [float(interval.low), float(interval.high)]


def sign_flip_p(differences: Values) -> float:
    """Two-sided p-value of the hypothesis that each difference might as well have the other sign (Fisher, The Design of
    Experiments, 1935, section 21): the share of all patterns of signs whose mean is as far from zero."""

    def mean(values: Values, axis: int = -1) -> Any:
        return values.mean(axis=axis).round(9)  # equal means are equal, whatever the order of their sums rounded

    result = stats.permutation_test(
        (differences,), mean, permutation_type="samples", vectorized=True, n_resamples=EXACT, rng=_random()
    )
    return float(result.pvalue)


def holm(p_values: list[float]) -> list[float]:
    """Corrected for as many tests as there are (Holm, Scand. J. Stat. 6, 1979)."""
    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def effect_size(differences: Values) -> float | None:
    """Cohen's d of paired differences: their mean in their standard deviations. None when they do not differ."""
    spread = differences.std(ddof=1)
    return float(differences.mean() / spread) if spread > 0 else None


def probability_of_improvement(ours: Values, theirs: Values) -> dict[str, Any]:
    """That a training of ours beats one of theirs, each with any seed, ties counting half; with a bootstrap interval
    over both sets of seeds (Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice,
    NeurIPS 2021). Where every training of one side beats every one of the other, resamples do so too and the interval
    has no width: then it says nothing of the uncertainty that is left."""

    def statistic(x: Values, y: Values, axis: int = -1) -> Any:
        x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
        return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))

    interval = stats.bootstrap(
        (ours, theirs),
        statistic,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=_random(),
    ).confidence_interval
    return {"probability": float(statistic(ours, theirs)), "interval": [float(interval.low), float(interval.high)]}


def equivalence_p(differences: Values, margin: float) -> float:
    """p-value of the hypothesis that the mean lies `margin` or more from zero: the larger of two one-sided t-tests
    (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987)."""
    return float(DescrStatsW(differences).ttost_mean(-margin, margin)[0])


def crossed_intervals(differences: dict[str, NDArray[np.int8]]) -> dict[str, Interval]:
    """Of each mean of a matrix, seeds x images: both are resampled, independently of each other, for another training
    and another test set vary the result together (Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1, 2007)."""
    random = _random()
    images = next(iter(differences.values())).shape[1]
    matrices = {name: matrix.T.astype(np.float32) for name, matrix in differences.items()}
    means: dict[str, list[Values]] = {name: [] for name in differences}
    for start in range(0, RESAMPLES, 500):
        count = min(500, RESAMPLES - start)
        weights = np.stack([_times_drawn(random, images) for _ in range(count)]).astype(np.float32) / images
        for name, matrix in matrices.items():
            seeds = matrix.shape[1]
            by_seed = weights @ matrix
            drawn = random.integers(seeds, size=(count, seeds))
            means[name].append(np.take_along_axis(by_seed, drawn, axis=1).mean(axis=1))
    tail = 100 * (1 - CONFIDENCE) / 2
    return {
        name: [float(bound) for bound in np.percentile(np.concatenate(parts), [tail, 100 - tail])]
        for name, parts in means.items()
    }


def _times_drawn(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """How often each of `count` things comes up in as many draws."""
    return np.bincount(random.integers(count, size=count), minlength=count)


def _random() -> np.random.Generator:
    return np.random.default_rng(0)


def compare(ours: Values, theirs: Values, margin: float) -> dict[str, Any]:
    """Two techniques' values seed by seed; the p-value is without correction."""
    differences = ours - theirs
    return {
        "n": len(differences),
        "difference": float(differences.mean()),
        "interval": bca_interval(differences),
        "sign_flip_p": sign_flip_p(differences),
        "effect_size": effect_size(differences),
        "improvement": probability_of_improvement(ours, theirs),
        "equivalence_p": equivalence_p(differences, margin) if np.ptp(differences) > 0 else None,
    }
