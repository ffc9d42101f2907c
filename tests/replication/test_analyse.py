"""The comparison of techniques with the baseline, on small examples and on the study's own replicates."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lenet5.report.tables import markdown
from lenet5.support.params import load_params
from replication.analyse import (
    HEADER,
    against_baseline,
    analyse,
    cells,
    flat,
    overview,
    preferred_rates,
    verdict,
)
from replication.analysis import figures
from replication.analysis.results import Replicates, load_plan, packed, read_replicates
from tests.conftest import ROOT

COMMITTED: dict[str, Any] = json.loads((ROOT / "metrics/replication.json").read_text())


def replicates(correct: list[list[bool]], first_seed: int = 0) -> Replicates:
    """Return replicates of consecutive seeds, given which images each of them classifies correctly."""
    return Replicates(
        [
            {
                "seed": seed,
                "test_images": len(row),
                "test_correct": packed(np.array(row)),
                "test_accuracy": np.mean(row),
                "test_loss": 0.3,
                "test_calibration_error": 0.01,
                "train_accuracy": 0.9,
                "chosen_epoch": 3,
            }
            for seed, row in enumerate(correct, start=first_seed)
        ]
    )


def test_a_comparison_uses_the_seeds_that_both_have() -> None:
    baseline = replicates([[True, False, False, True]] * 3)
    ours = replicates([[True, True, False, True]] * 4, first_seed=1)
    result = against_baseline({"baseline": baseline, "other": ours}, margin=0.2)["other"]
    assert result["n"] == 2
    assert result["difference"] == 25
    assert result["interval"] == [25, 25]
    low, high = result["interval_new_images"]
    assert low <= 25 <= high


def test_the_verdict_follows_the_plan() -> None:
    assert verdict(0.01, 0.5, None) == "helps"
    assert verdict(0.01, -0.5, None) == "hurts"
    assert verdict(0.5, 0.01, 0.001) == "no difference"
    assert verdict(0.5, 0.01, 0.5) == "open"
    assert verdict(0.05, 0.5, None) == verdict(0.05, 0.5, 0.05) == "open"


def test_a_technique_with_one_common_seed_is_not_compared() -> None:
    baseline = replicates([[True, False]] * 3)
    assert against_baseline({"baseline": baseline, "other": replicates([[True, True]] * 2, first_seed=2)}, 0.2) == {}


def test_a_technique_that_diverged_has_only_its_failures() -> None:
    diverged = Replicates([{"seed": seed, "failure": "the loss became nan"} for seed in range(3)])
    found = {0.01: {"baseline": replicates([[True, False]] * 3), "other": diverged}}
    rows = analyse(found, load_plan(ROOT / "replication/params.yaml"), {})
    expected = {"learning_rate": 0.01, "technique": "other", "failures": 3, "against_baseline": None}
    assert rows[1] == expected
    assert cells(rows[1]) == ["other", "0.01", "3 diverged"] + [""] * 9
    assert len(cells(rows[0])) == len(cells(rows[1])) == len(HEADER)
    assert overview(rows).splitlines()[3].split() == ["|", "other", "|", "diverged", "|", "|"]


def test_a_technique_is_described_from_two_seeds_on() -> None:
    found = {0.01: {"baseline": replicates([[True, False]] * 2), "other": replicates([[True, True]])}}
    rows = analyse(found, load_plan(ROOT / "replication/params.yaml"), {})
    assert rows[0]["test_accuracy"]["n"] == 2
    assert "test_accuracy" not in rows[1]


def test_the_exercise_is_shown_at_its_own_learning_rate_only() -> None:
    plan = load_plan(ROOT / "replication/params.yaml")
    found = {rate: {"baseline": replicates([[True, False]] * 2)} for rate in (0.001, 0.01, 0.1)}
    rows = analyse(found, plan, load_params(ROOT / "params.yaml").exercise)
    assert [row["learning_rate"] for row in rows if "exercise" in row] == [plan.learning_rate]


def test_a_pair_prefers_the_rate_of_its_lowest_validation_loss() -> None:
    def runs(*losses: float) -> Replicates:
        return Replicates([{"seed": seed, "validation_loss": loss} for seed, loss in enumerate(losses)])

    found = {0.1: {"a": runs(0.3, 0.2, 0.1), "b": runs(0.5)}, 0.2: {"a": runs(0.4, 0.1), "b": runs(0.4)}}
    assert preferred_rates(found) == {"0.1": 1, "0.2": 2}


def with_differences(*differences: int) -> Replicates:
    """Return replicates that classify so many more of 100 images correctly than `BASELINE` does."""
    return replicates([[image < 50 + difference for image in range(100)] for difference in differences])


BASELINE = with_differences(*[0] * 9)
# The raw p-values are the shares of the 512 sign patterns of 1 to 9 whose negative numbers have at most this sum.
P_02 = with_differences(1, 2, -3, 4, 5, 6, 7, 8, 9)
P_03 = with_differences(1, 2, 3, -4, 5, 6, 7, 8, 9)
P_04 = with_differences(1, 2, 3, 4, -5, 6, 7, 8, 9)


def test_p_values_of_02_03_and_04_stay_open_after_correction() -> None:
    results = against_baseline({"baseline": BASELINE, "b": P_03, "c": P_02, "d": P_04}, margin=0.2)
    raw = {name: result["sign_flip_p"] for name, result in results.items()}
    assert raw == {"b": 14 / 512, "c": 10 / 512, "d": 20 / 512}
    assert [result["sign_flip_p_holm"] for result in results.values()] == pytest.approx([30 / 512] * 3)
    assert [result["verdict"] for result in results.values()] == ["open"] * 3


def test_each_technique_gets_its_own_corrected_p_value() -> None:
    certain = with_differences(*range(-9, 0))
    results = against_baseline({"baseline": BASELINE, "certain": certain, "d": P_04, "c": P_02}, margin=0.2)
    corrected = {name: result["sign_flip_p_holm"] for name, result in results.items()}
    assert corrected == pytest.approx({"certain": 3 * 2 / 512, "d": 20 / 512, "c": 2 * 10 / 512})
    assert [result["verdict"] for result in results.values()] == ["hurts", "helps", "helps"]


def test_the_committed_analysis_is_that_of_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    plan = load_plan()
    found = read_replicates(plan)
    assert COMMITTED["plan"] == plan.model_dump()
    assert COMMITTED["preferred_by_validation"] == preferred_rates(found)
    rows = analyse(found, plan, load_params().exercise)
    for row, committed in zip(rows, COMMITTED["results"], strict=True):
        assert row.keys() == committed.keys()
        assert dict(flat(row)) == pytest.approx(dict(flat(committed)), abs=1e-5)
    for name, image in figures.draw(found, COMMITTED["results"], plan).items():
        assert image == (ROOT / f"metrics/replication/{name}.png").read_bytes(), name


def test_the_committed_tables_show_the_committed_analysis() -> None:
    rows = COMMITTED["results"]
    assert (ROOT / "metrics/replication.md").read_text() == markdown(HEADER, [cells(row) for row in rows])
    assert (ROOT / "metrics/replication/overview.md").read_text() == overview(rows)
    table = pd.read_csv(ROOT / "metrics/replication.csv")
    for (_, line), row in zip(table.iterrows(), rows, strict=True):
        assert line.dropna().to_dict() == pytest.approx(dict(flat(row)), abs=1e-4)  # six digits
