"""How much two results differ, with 95 % intervals: over the same test images, and over the same seeds."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lenet5.report.comparison import mcnemar_exact

CONFIDENCE = 0.95
SIGNIFICANT = 1 - CONFIDENCE


def over_images(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, Any]:
    """Return by how much the accuracy of the second network exceeds that of the first one, in points, with its
    interval and McNemar's exact p-value. first, second: bool N, whether each image is classified correctly.

    The interval is Wald's for paired proportions after adding half an image to each of the four counts (Agresti and
    Min, Stat. Med. 24, 2005), which is accurate for few disagreements too. It allows for other test images, not for
    other seeds.
    """
    only_second, only_first, p_value = mcnemar_exact(second, first)
    count = len(first) + 2
    centre = (only_second - only_first) / count
    variance = ((only_second + only_first + 1) / count - centre**2) / count
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt(variance)
    return {
        "difference": 100 * (only_second - only_first) / len(first),
        "interval": [100 * float(centre - half), 100 * float(centre + half)],
        "only_first_right": only_first,
        "only_second_right": only_second,
        "p": p_value,
    }


def of_losses(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
    """Return by how much the mean loss of the second network exceeds that of the first one, with the normal interval of
    the paired differences. first, second: float64 N, the loss of each image, in nats."""
    differences = second - first
    mean = float(differences.mean())
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return {"difference": mean, "interval": [float(mean - half), float(mean + half)]}


def over_seeds(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, Any]:
    """Return by how much the mean of the second values exceeds that of the first ones, with Student's interval and
    p-value of the paired differences. first, second: float64, one value for each seed, of at least two seeds."""
    differences = second - first
    mean = float(differences.mean())
    if np.ptp(differences) == 0:  # then the t statistic is undefined or infinite
        return {"difference": mean, "interval": [mean, mean], "p": 0.0 if mean else 1.0}
    result = stats.ttest_1samp(differences, 0)
    interval = result.confidence_interval(CONFIDENCE)
    return {"difference": mean, "interval": [float(interval.low), float(interval.high)], "p": float(result.pvalue)}
