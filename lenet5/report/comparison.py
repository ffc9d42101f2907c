"""Techniques compared on the same test images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from lenet5.support.params import BASELINE


def mcnemar_exact(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Return how many images only `ours` and only `theirs` classified correctly, and the two-sided p-value for equal
    error rates. ours, theirs: bool N, whether each image is classified correctly.

    Under the null hypothesis each image in which they differ goes either way with probability 1/2 (McNemar,
    Psychometrika 12, 1947; exact form).
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    disagreements = only_ours + only_theirs
    p_value = float(binomtest(only_ours, disagreements, 0.5).pvalue) if disagreements else 1.0
    return only_ours, only_theirs, p_value


def compare_with_baseline(correct: dict[str, NDArray[np.bool_]]) -> dict[str, dict[str, Any]]:
    """Return the comparison of each other technique with the baseline, p-values also with Holm's correction (Scand. J.
    Stat. 6, 1979). correct: for each technique bool N, whether each image is classified correctly."""
    results: dict[str, dict[str, Any]] = {}
    for technique, ours in correct.items():
        if technique == BASELINE:
            continue
        only_ours, only_baseline, p_value = mcnemar_exact(ours, correct[BASELINE])
        results[technique] = {
            "difference_points": 100 * (only_ours - only_baseline) / len(ours),
            "only_this_right": only_ours,
            "only_baseline_right": only_baseline,
            "mcnemar_p": p_value,
        }
    corrected = multipletests([result["mcnemar_p"] for result in results.values()], method="holm")[1]
    for result, p_value in zip(results.values(), corrected, strict=True):
        result["mcnemar_p_holm"] = float(p_value)
    return results
