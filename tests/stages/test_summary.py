"""The table of the study."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lenet5.report.tables import markdown
from lenet5.support.params import load_params
from stages.summary import HEADER, cells, summarise
from tests.conftest import ROOT

ROW: dict[str, Any] = {
    "technique": "a_technique",
    "test_accuracy": 90.0,
    "test_accuracy_low": 89.0,
    "test_accuracy_high": 91.0,
    "train_accuracy": 95.0,
    "chosen_epoch": 3,
    "test_loss": 0.3,
    "calibration_error": 1.0,
    "difference_points": 0.5,
    "mcnemar_p_holm": 0.0001,
    "exercise_test_accuracy": None,
}


def test_the_table_has_one_row_per_technique_and_aligned_columns() -> None:
    lines = markdown(HEADER, [cells(row) for row in (ROW, ROW | {"mcnemar_p_holm": None})]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "+0.50 |" in lines[2] and "< 0.001" in lines[2]
    assert "+0.50" not in lines[3]


def test_the_exercises_accuracies_are_shown_if_it_reports_any() -> None:
    assert cells(ROW)[-1] == ""
    assert cells(ROW | {"exercise_test_accuracy": 88.5, "exercise_train_accuracy": 89.0})[-1] == "88.50 / 89.00"


def test_each_technique_but_the_baseline_is_compared_with_it() -> None:
    params = load_params(ROOT / "params.yaml")
    metrics = {f"{name}_{kind}": 0.5 for name in ("train", "validation", "test") for kind in ("accuracy", "loss")}
    metrics |= {"test_calibration_error": 0.01, "chosen_epoch": 3, "parameters": 61_706}
    evaluations = {name: metrics | {"test_accuracy_interval": [0.4, 0.6]} for name in ("baseline", "other")}
    labels = np.zeros(10, dtype=int)
    predictions = {
        name: pd.DataFrame({"label": labels, "predicted": np.repeat([0, 1], [correct, 10 - correct])})
        for name, correct in (("baseline", 5), ("other", 8))
    }
    baseline, other = summarise(params, evaluations, predictions)
    assert list(baseline) == list(other)
    assert (baseline["test_accuracy"], baseline["test_accuracy_low"]) == (50, 40)
    assert baseline["difference_points"] is None and baseline["exercise_test_accuracy"] == 100 * 1430 / 1615
    assert other["difference_points"] == pytest.approx(30) and other["exercise_test_accuracy"] is None


def test_the_csv_has_the_numbers_of_the_json() -> None:
    rows = pd.DataFrame(json.loads((ROOT / "metrics/summary.json").read_text())["techniques"])
    csv = pd.read_csv(ROOT / "metrics/summary.csv")
    for column in csv.select_dtypes("number"):
        assert csv[column].to_numpy() == pytest.approx(rows[column].astype(float).to_numpy(), rel=1e-4, nan_ok=True)
