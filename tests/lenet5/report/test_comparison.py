"""Techniques compared on the same test images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lenet5.report.comparison import compare_with_baseline, mcnemar_exact

Correct = NDArray[np.bool_]  # whether each image is classified correctly


def classified(both: int, only_ours: int, only_theirs: int, neither: int) -> tuple[Correct, Correct]:
    """Return two classifiers' results on so many images that both, only one or neither classify correctly."""
    ours = np.repeat([True, True, False, False], [both, only_ours, only_theirs, neither])
    theirs = np.repeat([True, False, True, False], [both, only_ours, only_theirs, neither])
    return ours, theirs


def test_mcnemar_is_the_exact_binomial_test_on_disagreements() -> None:
    # 1 of 7 disagreements: p = 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128.
    only_ours, only_theirs, p_value = mcnemar_exact(*classified(50, 1, 6, 3))
    assert (only_ours, only_theirs) == (1, 6)
    assert p_value == pytest.approx(0.125)


def test_classifiers_that_never_disagree_have_a_p_value_of_one() -> None:
    assert mcnemar_exact(*classified(5, 0, 0, 5)) == (0, 0, 1.0)


def test_each_technique_gets_its_counts_and_holms_correction() -> None:
    # p = 16 / 128 for 1 of 7 disagreements, and 2 / 32 for none of 5. Holm doubles the smaller one.
    right = {"baseline": range(10), "a": range(6, 11), "b": range(5, 10)}
    correct = {name: np.isin(range(20), images) for name, images in right.items()}
    counts = {"only_this_right": 1, "only_baseline_right": 6, "difference_points": -25.0}
    others = {"only_this_right": 0, "only_baseline_right": 5, "difference_points": -25.0}
    assert compare_with_baseline(correct) == {
        "a": {**counts, "mcnemar_p": pytest.approx(0.125), "mcnemar_p_holm": pytest.approx(0.125)},
        "b": {**others, "mcnemar_p": pytest.approx(0.0625), "mcnemar_p_holm": pytest.approx(0.125)},
    }


def test_the_baseline_alone_is_compared_with_nothing() -> None:
    assert compare_with_baseline({"baseline": np.ones(3, dtype=bool)}) == {}
