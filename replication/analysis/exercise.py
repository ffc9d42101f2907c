"""The accuracies of the exercise: what they count, and where they lie among ours when ours are counted the same way."""

import math
from bisect import bisect_left
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lenet5.support.params import ReportedAccuracies
from replication.analysis.results import Replicates
from replication.analysis.statistics import CONFIDENCE

# Of the exercise.
IMAGES = {"test": 10_000, "train": 48_000}
BATCH = 64
PER_BATCH = 10
# Ten counters that start at 0, 1, ..., 9 instead of at zero.
START = sum(range(10))
LARGEST = 10**6  # Fractions with denominators up to this differ by far more than the rounding of a float.

Counted = dict[str, dict[str, int]]


def counted_images(shares: Iterable[float]) -> int:
    """Return the smallest number of images of which these can be shares: their smallest common denominator."""
    return math.lcm(*(Fraction(share).limit_denominator(LARGEST).denominator for share in shares))


def ten_per_batch(images: int) -> int:
    """Return the total of a loop that counts ten images of each batch, with counters that start at 0, 1, ..., 9."""
    return PER_BATCH * math.ceil(images / BATCH) + START


def what_is_counted(exercise: dict[str, ReportedAccuracies]) -> Counted:
    """Return, for test and training images, the denominator of the exercise's accuracies, the total that
    `ten_per_batch` gives, and the number that the counters start with: 45 if the two are equal, else 0."""
    counted: Counted = {}
    for name, images in IMAGES.items() if exercise else ():
        total = counted_images(getattr(reported, name) / 100 for reported in exercise.values())
        expected = ten_per_batch(images)
        counted[name] = {"total": total, "ten_per_batch": expected, "start": START if total == expected else 0}
    return counted


def percentile(right: int, total: int, start: int, correct: NDArray[np.int64], images: int) -> float:
    """Return how often, in percent, networks like ours give a lower number of right images than `right` of `total`.
    Equal numbers count half.

    correct: int64 N, how many of `images` each of our networks classifies correctly. The counter adds `total - start`
    random images of these to `start`, so its number is hypergeometric for each network.
    """
    shown = stats.hypergeom(images, correct, total - start)
    below = np.mean(shown.cdf(right - start) - shown.pmf(right - start) / 2)
    return round(100 * float(below), 6)  # the digits beyond depend on the processor


def expected_range(total: int, start: int, correct: NDArray[np.int64], images: int) -> list[float]:
    """Return the range in percent in which 95 % of the accuracies lie that the counter shows of networks like ours."""
    shown = stats.hypergeom(images, correct, total - start)
    tail = (1 - CONFIDENCE) / 2
    numbers = range(total - start + 1)
    bounds = [bisect_left(numbers, p, key=lambda right: float(np.mean(shown.cdf(right)))) for p in (tail, 1 - tail)]
    return [100 * (start + right) / total for right in bounds]


def compare_with_exercise(
    replicates: Replicates, reported: ReportedAccuracies, counted: Counted, training_images: int
) -> dict[str, Any]:
    """Return, for test and training images, the exercise's accuracy of a technique, its percentile among what its
    counter would show of our networks, and the range of that. The last two are left out if it counts more images than
    ours are measured on.

    `percentile_all_images` is the percentile if every number counted were an image, also those that the counters start
    with.
    """
    results: dict[str, Any] = {}
    for name, images in (("test", replicates.images), ("train", training_images)):
        accuracy, total, start = getattr(reported, name), counted[name]["total"], counted[name]["start"]
        results[name] = {"accuracy": accuracy}
        if total <= images:
            right = round(accuracy / 100 * total)
            shares = [run[f"{name}_accuracy"] for run in replicates.by_seed.values()]
            correct = (images * np.array(shares)).round().astype(np.int64)
            results[name] |= {
                "percentile": percentile(right, total, start, correct, images),
                "percentile_all_images": percentile(right, total, 0, correct, images),
                "range": expected_range(total, start, correct, images),
            }
    return results
