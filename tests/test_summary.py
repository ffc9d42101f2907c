import numpy as np
import pytest

from stages.summary import comparisons, markdown, mcnemar_exact, p_value_text


def recognised(both: int, only_ours: int, only_theirs: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    ours = np.repeat([True, True, False, False], [both, only_ours, only_theirs, neither])
    theirs = np.repeat([True, False, True, False], [both, only_ours, only_theirs, neither])
    return ours, theirs


def test_mcnemar_is_the_exact_binomial_test_on_the_disagreements() -> None:
    # 1 of 7 disagreements: p = 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128.
    only_ours, only_theirs, p_value = mcnemar_exact(*recognised(50, 1, 6, 3))
    assert (only_ours, only_theirs) == (1, 6)
    assert p_value == pytest.approx(0.125)


def test_classifiers_that_never_disagree_are_not_told_apart() -> None:
    assert mcnemar_exact(*recognised(5, 0, 0, 5)) == (0, 0, 1.0)


def test_holm_multiplies_the_smallest_p_by_the_number_of_comparisons() -> None:
    baseline = recognised(90, 0, 0, 30)[1]
    worse, slightly = baseline.copy(), baseline.copy()
    worse[:20] = False
    slightly[:3] = False
    results = comparisons({"baseline": baseline, "worse": worse, "slightly": slightly})
    assert "baseline" not in results
    assert results["worse"]["mcnemar_p_holm"] == pytest.approx(2 * results["worse"]["mcnemar_p"])
    assert results["slightly"]["mcnemar_p_holm"] == pytest.approx(results["slightly"]["mcnemar_p"])
    assert results["worse"]["difference_points"] == pytest.approx(-100 * 20 / 120)


def test_the_table_has_a_row_a_technique_and_equal_columns() -> None:
    row = {"technique": "a_technique", "test_accuracy": 90.0, "test_accuracy_low": 89.0, "test_accuracy_high": 91.0}
    row |= {"train_accuracy": 95.0, "chosen_epoch": 3, "test_loss": 0.3, "calibration_error": 1.0}
    row |= {"difference_points": 0.5, "mcnemar_p_holm": 0.0001, "document_test_accuracy": None}
    lines = markdown([row, row | {"mcnemar_p_holm": None}]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "+0.50 |" in lines[2] and "< 0.001" in lines[2]
    assert "+0.50" not in lines[3]


def test_p_values_are_never_shown_as_zero() -> None:
    assert p_value_text(1e-12) == "< 0.001"
    assert p_value_text(0.0449) == "0.045"
