"""Statistics over seeds, compared with published examples, values computed by hand, and each other."""

import itertools

import numpy as np
import pytest
from scipy import stats

from replication.analysis.statistics import (
    bca_interval,
    compare,
    crossed_intervals,
    describe,
    effect_size,
    equivalence_p,
    interval,
    new_training_interval,
    power,
    probability_of_improvement,
    share_first,
    sign_flip_p,
    t_interval,
)

# Darwin's maize: cross-fertilised minus self-fertilised plants, in eighths of an inch (Fisher, The Design of
# Experiments, 1935, table 3).
MAIZE = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48], dtype=float)


def test_darwins_maize_has_fishers_interval_and_exact_p_value() -> None:
    described = describe(MAIZE)
    assert described["mean"] == pytest.approx(314 / 15)
    assert described["standard_deviation"] == pytest.approx(37.744, abs=5e-4)
    # Section 17: t = 2.148 on 14 degrees of freedom, so the interval just excludes zero.
    low, high = described["interval"]
    assert (low, high) == pytest.approx((0.03, 41.84), abs=0.01)
    # Section 21: 1,726 of the 32,768 sign patterns are at least as far from zero as the observed one.
    assert sign_flip_p(MAIZE) == pytest.approx(1726 / 32768)


def test_describe_gives_values_computed_by_hand() -> None:
    assert describe(np.array([1.0, 2.0, 3.0, 6.0])) == {
        "n": 4,
        "mean": 3.0,
        "interval": pytest.approx([3 - 3.182446 * 2.160247 / 2, 3 + 3.182446 * 2.160247 / 2], abs=1e-5),
        "standard_deviation": pytest.approx((14 / 3) ** 0.5),
        "median": 2.5,
        "lowest": 1.0,
        "highest": 6.0,
    }


@pytest.mark.parametrize("count", [2, 5, 10])
def test_the_sign_flip_test_counts_every_pattern(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    patterns = np.array(list(itertools.product((1, -1), repeat=count)))
    means = np.abs(patterns @ differences)
    assert sign_flip_p(differences) == pytest.approx((means >= abs(differences.sum()) - 1e-12).mean())


@pytest.mark.parametrize(("effect_size", "count", "tests"), [(0.8, 30, 6), (-0.8, 30, 6), (0.4, 12, 1)])
def test_the_power_is_the_share_of_samples_that_are_found(effect_size: float, count: int, tests: int) -> None:
    samples = np.random.default_rng(0).normal(effect_size, 1, (20_000, count))
    found = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05 / tests)
    assert power(effect_size, count, tests) == pytest.approx(found, abs=0.01)


def test_differences_of_one_sign_have_the_smallest_p_value() -> None:
    assert sign_flip_p(np.arange(1.0, 11.0)) == pytest.approx(2 / 1024)
    assert sign_flip_p(np.zeros(4)) == 1


def test_every_pattern_of_sixteen_seeds_is_counted() -> None:
    differences = np.arange(1.0, 17.0) * np.where(np.arange(16) == 15, -1, 1)  # the negative numbers sum to 16
    patterns = 1 - 2 * (np.arange(2**16)[:, None] >> np.arange(16) & 1)
    sums = patterns @ np.arange(1, 17)
    assert sign_flip_p(differences) == np.mean(abs(sums) >= abs(differences.sum()))


def test_equal_differences_have_no_effect_size_or_equivalence() -> None:
    result = compare(np.full(3, 2.0), np.full(3, 1.0), 0.2)
    assert (result["difference"], result["interval"]) == (1, [1, 1])
    assert result["effect_size"] is None and result["equivalence_p"] is None
    # Equal counts of images, whose accuracies differ in the last digit.
    baseline = np.array([100 * (count / 10_000) for count in (8838, 8921)])
    ours = np.array([100 * (count / 10_000) for count in (8878, 8961)])
    assert np.ptp(ours - baseline) > 0
    result = compare(ours, baseline, 0.2)
    assert result["effect_size"] is None and result["equivalence_p"] is None
    nearly = compare(np.array([2.0, 2.0, 2.01]), np.full(3, 1.0), 0.2)
    assert nearly["effect_size"] > 100 and nearly["equivalence_p"] == pytest.approx(1, abs=1e-3)


def test_many_seeds_use_the_same_random_patterns_each_time() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1, 30)
    p_value = sign_flip_p(differences)
    assert p_value == sign_flip_p(differences)
    assert p_value == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_the_bca_interval_follows_efrons_formula() -> None:
    values = MAIZE
    resamples = np.random.default_rng(1).choice(values, (200_000, len(values))).mean(axis=1)
    bias = stats.norm.ppf((resamples < values.mean()).mean())
    deviations = values.mean() - np.array([np.delete(values, i).mean() for i in range(len(values))])
    acceleration = (deviations**3).sum() / (6 * (deviations**2).sum() ** 1.5)
    tails = bias + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(resamples, stats.norm.cdf(bias + tails / (1 - acceleration * tails)))
    assert bca_interval(values) == pytest.approx(expected, abs=1.0)
    assert bca_interval(np.array([0.5, 0.5, 0.5])) == [0.5, 0.5]


def test_ten_seeds_get_students_interval_and_thirty_bca() -> None:
    values = np.random.default_rng(0).normal(1, 1, 30)
    assert interval(values) == bca_interval(values) != t_interval(values)
    assert interval(values[:29]) == t_interval(values[:29]) != bca_interval(values[:29])
    assert interval(np.full(3, 0.5)) == [0.5, 0.5]


def test_with_ten_seeds_student_covers_95_and_bca_90_percent() -> None:
    samples = np.random.default_rng(0).normal(size=(600, 10))
    covered = np.array([[low < 0 < high for low, high in (t_interval(x), bca_interval(x))] for x in samples])
    student, bca = covered.mean(axis=0)  # standard errors: 0.9 and 1.2 points
    assert student == pytest.approx(0.95, abs=0.02)
    assert bca == pytest.approx(0.90, abs=0.02)


def test_with_thirty_values_the_bca_interval_covers_94_percent() -> None:
    samples = np.random.default_rng(0).normal(size=(60, 30))
    widths = np.array([[np.ptp(t_interval(x)), np.ptp(bca_interval(x))] for x in samples])
    student, bca = widths.mean(axis=0)
    reach = bca / student * stats.t.ppf(0.975, 29)  # in standard errors of the mean
    assert 1 - 2 * stats.t.sf(reach, 29) == pytest.approx(0.94, abs=0.005)


def test_a_new_training_set_widens_the_interval_as_published() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])  # mean 3, variance 14/3; Student's 97.5 % point with 3 degrees: 3.182446
    reach = 3.182446 * (14 / 3 * (1 / 4 + 1 / 5)) ** 0.5
    assert new_training_interval(values, 10 / 50) == pytest.approx([3 - reach, 3 + reach], abs=1e-5)
    assert new_training_interval(values, 0) == pytest.approx(t_interval(values))


def test_a_share_of_first_places_counts_draws_without_a_larger() -> None:
    # 3 is behind 4 in half of the draws; 1 is ahead only of 0, and level with 1.
    assert share_first(np.array([3.0, 1.0]), [np.array([2.0, 4.0]), np.array([0.0, 1.0])]) == (0.5 * 1 + 0 * 1) / 2
    assert share_first(np.array([1.0]), [np.array([0.0, 1.0, 2.0])]) == pytest.approx(2 / 3)


def test_effect_size_is_the_mean_in_standard_deviations() -> None:
    assert effect_size(np.array([1.0, 3.0])) == pytest.approx(2 / 2**0.5)
    assert effect_size(np.array([1.0, 1.0])) is None


def test_improvement_counts_pairs_won_and_half_of_the_ties() -> None:
    result = probability_of_improvement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0]))
    assert result["probability"] == pytest.approx((0.0 + 1 + 0.5 + 1 + 1 + 1) / 6)
    assert result["interval"][0] <= result["probability"] <= result["interval"][1]
    better = probability_of_improvement(np.array([5.0, 6.0]), np.array([1.0, 2.0]))
    assert better == {"probability": 1.0, "interval": [1.0, 1.0]}


def test_equivalence_is_the_larger_of_two_one_sided_t_tests() -> None:
    differences = np.array([0.05, -0.02, 0.01, 0.03, -0.04, 0.02])
    error = differences.std(ddof=1) / 6**0.5
    expected = max(
        stats.t.sf((differences.mean() + 0.2) / error, 5), stats.t.cdf((differences.mean() - 0.2) / error, 5)
    )
    assert equivalence_p(differences, 0.2) == pytest.approx(expected)
    assert equivalence_p(differences + 0.3, 0.2) > 0.95


def test_equal_seeds_leave_only_the_uncertainty_over_images() -> None:
    images = np.random.default_rng(0).choice([-1, 0, 1], 2_000, p=[0.1, 0.7, 0.2]).astype(np.int8)
    low, high = crossed_intervals({"same": np.tile(images, (5, 1))})["same"]
    error = images.std() / len(images) ** 0.5
    assert (low, high) == pytest.approx((images.mean() - 1.96 * error, images.mean() + 1.96 * error), abs=0.1 * error)


def test_equal_images_leave_only_the_uncertainty_over_seeds() -> None:
    seeds = np.array([0, 0, 1, 1, 1, 0, 1, 0], dtype=np.int8)
    interval = crossed_intervals({"same": np.tile(seeds[:, None], (1, 50))})["same"]
    # The number of ones among 8 draws is binomial.
    assert interval == pytest.approx(stats.binom(8, 0.5).ppf([0.025, 0.975]) / 8)


def test_crossed_intervals_are_exact_sums_divided_once() -> None:
    seeds, images = 3, 700  # products of shares, instead of counts, would be rounded
    matrix = np.random.default_rng(0).integers(-1, 2, (seeds, images)).astype(np.int8)
    for bound in crossed_intervals({"any": matrix})["any"]:
        # Of 9,999 means, the percentiles lie at places 249.95 and 9,748.05: a twentieth of the way from one to another.
        steps = bound * seeds * images * 20
        assert steps == pytest.approx(round(steps), abs=1e-9)


def test_equally_extreme_patterns_count_whatever_their_rounding() -> None:
    random = np.random.default_rng(5)
    signs = 1 - 2 * (np.arange(2**10)[:, None] >> np.arange(10) & 1)
    for _ in range(100):
        counts = random.integers(8_700, 8_750, (2, 10))  # of 10,000 images
        differences = counts[0] - counts[1]
        exact = np.mean(abs(signs @ differences) >= abs(differences.sum()))
        assert sign_flip_p(counts[0] / 100 - counts[1] / 100) == exact


def test_swapping_the_sides_mirrors_a_comparison() -> None:
    random = np.random.default_rng(3)
    ours, theirs = random.normal(88, 1, 10), random.normal(88.5, 1, 10)
    result, swapped = compare(ours, theirs, 0.2), compare(theirs, ours, 0.2)
    assert result["difference"] == -swapped["difference"]
    assert result["sign_flip_p"] == swapped["sign_flip_p"]
    assert result["improvement"]["probability"] == pytest.approx(1 - swapped["improvement"]["probability"])
    assert result["equivalence_p"] == pytest.approx(swapped["equivalence_p"])
