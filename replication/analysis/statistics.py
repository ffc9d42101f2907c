"""Intervals and tests over seeds, and over seeds and images.

Values are one number per seed. Two techniques are compared seed by seed: equal seeds mean the same split, initial
weights and order of images. Resamples are drawn with a fixed seed, so that equal data give equal bytes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import ttest_power
from statsmodels.stats.weightstats import DescrStatsW

Values = NDArray[np.float64]
Interval = list[float]

CONFIDENCE = 0.95
RESAMPLES = 9_999
MANY = 30  # values from which the bootstrap interval is used
EXACT = 2**16  # sign patterns; with more than 16 seeds, as many random patterns are drawn


def describe(values: Values) -> dict[str, Any]:
    """Return mean with Student's interval, standard deviation, median and extremes of at least two values."""
    return {
        "n": len(values),
        "mean": float(values.mean()),
        "interval": t_interval(values),
        "standard_deviation": float(values.std(ddof=1)),
        "median": float(np.median(values)),
        "lowest": float(values.min()),
        "highest": float(values.max()),
    }


def t_interval(values: Values) -> Interval:
    """Return Student's interval of the mean."""
    low, high = DescrStatsW(values).tconfint_mean(alpha=1 - CONFIDENCE)
    return [float(low), float(high)]


def interval(values: Values) -> Interval:
    """Return the interval of the mean that is shown: Student's for fewer than 30 values, else the BCa bootstrap's.

    With ten normal values the BCa interval covers the mean in 90 % of samples instead of 95 %, with thirty in 94 %;
    Student's covers it in 95 %.
    """
    return t_interval(values) if len(values) < MANY else bca_interval(values)


def new_training_interval(differences: Values, ratio: float) -> Interval:
    """Return Student's interval of the mean over training sets that share no images. ratio: test images divided by
    training images.

    Runs on overlapping training sets are correlated, so the variance of their mean is taken as (1/n + ratio) times that
    of one difference (Nadeau and Bengio, Inference for the generalization error, Mach. Learn. 52, 2003).
    """
    count = len(differences)
    error = differences.std(ddof=1) * (1 / count + ratio) ** 0.5
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error
    return [float(differences.mean() - reach), float(differences.mean() + reach)]


def constant(values: Values) -> bool:
    """Return whether values are equal, however their sums were rounded."""
    return bool(np.ptp(values) < 1e-9)


def bca_interval(differences: Values) -> Interval:
    """Return the bias-corrected, accelerated bootstrap interval of the mean (Efron, J. Am. Stat. Assoc. 82, 1987)."""
    if constant(differences):
        return [float(differences[0])] * 2
    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="BCa", rng=_random()
    ).confidence_interval
    return [float(found.low), float(found.high)]


def sign_flip_p(differences: Values) -> float:
    """Return the two-sided p-value of the hypothesis that each difference could as well have the opposite sign.

    It is the share of all sign patterns whose mean is at least as far from zero (Fisher, The Design of Experiments,
    1935, section 21). If there are more than `EXACT` patterns, it is twice the smaller one-sided share of that many
    random ones, the observed one included, so that it is never zero.
    """

    def mean(values: Values, axis: int = -1) -> Any:
        return values.mean(axis=axis).round(9)  # so that equal means compare equal, however their sums were rounded

    result = stats.permutation_test(
        (differences,), mean, permutation_type="samples", vectorized=True, n_resamples=EXACT, rng=_random()
    )
    return float(result.pvalue)


def effect_size(differences: Values) -> float | None:
    """Return Cohen's d of paired differences: their mean divided by their standard deviation. None if that is zero."""
    return float(differences.mean() / differences.std(ddof=1)) if not constant(differences) else None


def probability_of_improvement(ours: Values, theirs: Values) -> dict[str, Any]:
    """Return the probability that a run of ours beats one of theirs, whatever their seeds, with a bootstrap interval.

    Ties count half; the interval is over both sets of seeds (Agarwal et al., Deep reinforcement learning at the edge of
    the statistical precipice, NeurIPS 2021).

    If every run of one side beats every run of the other, so does every resample: the interval then has no width, which
    does not mean that there is no uncertainty.
    """

    def statistic(x: Values, y: Values, axis: int = -1) -> Any:
        x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
        return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))

    found = stats.bootstrap(
        (ours, theirs),
        statistic,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=_random(),
    ).confidence_interval
    return {"probability": float(statistic(ours, theirs)), "interval": [float(found.low), float(found.high)]}


def equivalence_p(differences: Values, margin: float) -> float:
    """Return the p-value of the hypothesis that the mean is at least `margin` away from zero.

    It is the larger of two one-sided t-tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987).
    """
    return float(DescrStatsW(differences).ttost_mean(-margin, margin)[0])


def power(effect_size: float, count: int, tests: int) -> float:
    """Return the probability that `count` paired differences of this effect size are significant at 5 %, in the
    direction of the effect, in a t-test at the strictest level of Holm's correction over `tests`, to four digits."""
    level = (1 - CONFIDENCE) / tests / 2
    return round(float(ttest_power(abs(effect_size), count, level, alternative="larger")), 4)


def crossed_intervals(differences: dict[str, NDArray[np.int8]]) -> dict[str, Interval]:
    """Return the interval of the mean of each matrix, int8 seeds x images, over new seeds and new images.

    Seeds and images are resampled independently (Owen, The pigeonhole bootstrap, Ann. Appl. Stat. 1, 2007).
    """
    random = _random()
    images = next(iter(differences.values())).shape[1]
    matrices = {name: matrix.T.astype(np.float32) for name, matrix in differences.items()}
    means: dict[str, list[Values]] = {name: [] for name in differences}
    for start in range(0, RESAMPLES, 500):
        count = min(500, RESAMPLES - start)
        weights = np.stack([_times_drawn(random, images) for _ in range(count)]).astype(np.float32)
        for name, matrix in matrices.items():
            seeds = matrix.shape[1]
            # Whole numbers below 2^24 are exact in float32, whatever the order in which a processor adds them.
            by_seed = (weights @ matrix).astype(np.float64)
            drawn = random.integers(seeds, size=(count, seeds))
            means[name].append(np.take_along_axis(by_seed, drawn, axis=1).sum(axis=1) / (images * seeds))
    tail = 100 * (1 - CONFIDENCE) / 2
    return {
        name: [float(bound) for bound in np.percentile(np.concatenate(parts), [tail, 100 - tail])]
        for name, parts in means.items()
    }


def share_first(ours: Values, others: list[Values]) -> float:
    """Return the share of draws of one of ours and one of each of the others in which none of the others is larger."""
    not_larger = [(each <= ours[:, None]).mean(axis=1) for each in others]
    return float(np.prod(not_larger, axis=0).mean())


def _times_drawn(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Return how often each of `count` items is drawn in `count` draws with replacement."""
    return np.bincount(random.integers(count, size=count), minlength=count)


def _random() -> np.random.Generator:
    return np.random.default_rng(0)


def compare(ours: Values, theirs: Values, margin: float) -> dict[str, Any]:
    """Return the comparison of two techniques, paired by seed. The p-value is not corrected."""
    differences = ours - theirs
    return {
        "n": len(differences),
        "difference": float(differences.mean()),
        "interval": interval(differences),
        "interval_bca": bca_interval(differences),
        "sign_flip_p": sign_flip_p(differences),
        "effect_size": effect_size(differences),
        "improvement": probability_of_improvement(ours, theirs),
        "equivalence_p": equivalence_p(differences, margin) if not constant(differences) else None,
    }
