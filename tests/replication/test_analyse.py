"""The comparison of techniques with the baseline, on small examples and on the study's own replicates."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from lenet5.support.errors import UserError
from lenet5.support.schema import read_yaml
from replication.analyse import analyse, main
from replication.analysis import figures, tables
from replication.analysis.comparison import (
    across_rates,
    against_baseline,
    baseline_first,
    new_images_intervals,
    preferred_rates,
    training_images,
    verdict,
    without_seed,
)
from replication.analysis.plan import load_plan
from replication.analysis.results import Replicates, packed
from replication.analysis.statistics import new_training_interval
from tests.conftest import ROOT

COMMITTED: dict[str, Any] = json.loads((ROOT / "metrics/replication.json").read_text())
OF_OTHERS = ("images", "fresh_seeds")  # files in metrics/replication that other stages write


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
    assert result["test_loss"] == {"difference": 0, "interval": [0, 0], "seeds_lower": 0}
    low, high = new_images_intervals({"baseline": baseline, "other": ours})["other"]
    assert low <= 25 <= high


def test_the_verdict_follows_the_plan() -> None:
    assert verdict(0.01, 0.5, None) == "helps"
    assert verdict(0.01, -0.5, None) == "hurts"
    assert verdict(0.5, 0.01, 0.001) == "no difference"
    assert verdict(0.5, 0.01, 0.5) == "open"
    assert (verdict(0.0499, 0.5, None), verdict(0.5, 0.5, 0.0499)) == ("helps", "no difference")
    assert verdict(0.05, 0.5, None) == verdict(0.05, 0.5, 0.05) == "open"


def test_a_technique_with_one_common_seed_is_not_compared() -> None:
    baseline = replicates([[True, False]] * 3)
    assert against_baseline({"baseline": baseline, "other": replicates([[True, True]] * 2, first_seed=2)}, 0.2) == {}


def test_a_technique_that_diverged_has_only_its_failures() -> None:
    diverged = Replicates([{"seed": seed, "failure": "the sum of the losses became nan"} for seed in range(3)])
    found = {0.01: {"baseline": replicates([[True, False]] * 3), "other": diverged}}
    rows = analyse(found, load_plan(ROOT / "replication/params.yaml"), {})
    expected = {"learning_rate": 0.01, "technique": "other", "failures": 3, "against_baseline": None}
    assert rows[1] == expected
    assert tables.cells(rows[1]) == ["other", "0.01", "3 diverged"] + [""] * 9
    assert len(tables.cells(rows[0])) == len(tables.cells(rows[1])) == len(tables.HEADER)
    assert tables.overview(rows).splitlines()[3].split() == ["|", "other", "|", "diverged", "|", "|"]
    assert len(tables.exercise(rows).splitlines()) == 2  # the header
    [note] = figures.accuracy(found, rows).axes[0].texts
    assert (note.get_text(), note.get_position()) == ("diverged", (0.5, 1))
    partly = replicates([[image < 53 for image in range(100)]] * 9, first_seed=1)  # seed 0 diverged
    compared = {0.01: {"baseline": BASELINE, "other": diverged}, 0.1: {"baseline": BASELINE, "other": partly}}
    rows = analyse(compared, load_plan(ROOT / "replication/params.yaml"), {})
    of_diverged, of_other = figures.differences(compared, rows, 0.2).axes
    assert [len(axis.texts) for axis in (of_diverged, of_other)] == [0, 1]
    [pairs] = [line for line in of_other.lines if np.size(line.get_xdata()) > 2]
    assert pairs.get_xdata() == pytest.approx([3] * 8)  # the seeds that both have


def test_a_technique_is_described_from_two_seeds_on() -> None:
    found = {0.01: {"baseline": replicates([[True, False]] * 2), "other": replicates([[True, True]])}}
    rows = analyse(found, load_plan(ROOT / "replication/params.yaml"), {})
    assert rows[0]["test_accuracy"]["n"] == 2
    assert "test_accuracy" not in rows[1]


def test_the_lower_rate_is_compared_with_each_technique() -> None:
    found = {
        0.1: {"baseline": with_differences(0, 0, 4), "other": with_differences(1, 3, 5), "one": with_differences(9)},
        0.01: {"baseline": with_differences(5, 7), "other": with_differences(8, 12), "one": with_differences(9, 9)},
    }
    results = across_rates(found)
    assert results.keys() == {"other"}  # the only one with two seeds at both rates
    other = results["other"]
    assert other["n"] == 2
    # Seed 0: 8 - 5 at the lower rate, 1 - 0 at the higher one. Seed 1: 12 - 7 and 3 - 0.
    assert other["interaction"]["difference"] == pytest.approx(2)
    assert other["interaction"]["sign_flip_p"] == 0.5
    assert other["interaction"]["sign_flip_p_holm"] == 1  # of two techniques
    assert other["baseline_gain"]["difference"] == pytest.approx(6)  # 5 and 7
    assert other["gain_minus_difference"]["difference"] == pytest.approx(2)  # 5 - 3 and 7 - 5
    assert other["gain_minus_difference"]["interval"] == pytest.approx([2, 2])
    values, images = np.array([2.0, 2.0]), found[0.1]["baseline"].images
    ratio = images / training_images(found[0.1])
    expected = new_training_interval(np.array([5.0, 7.0]), ratio)
    assert other["baseline_gain"]["interval_new_training"] == pytest.approx(expected)
    assert other["gain_minus_difference"]["interval_new_training"] == pytest.approx(values)


def test_the_baseline_is_first_where_no_other_is_ahead() -> None:
    found = {"baseline": with_differences(2, 4), "a": with_differences(1, 3), "b": with_differences(2, 5)}
    assert baseline_first(found, ["a", "b"]) == (1 / 2 * 1 / 2 + 1 * 1 / 2) / 2
    assert baseline_first(found, []) is None


def test_a_verdict_without_a_seed_uses_the_other_seeds_only() -> None:
    found = {"baseline": BASELINE, "other": with_differences(-50, *range(1, 9))}
    result = against_baseline(without_seed(0, found), margin=0.2)["other"]
    assert (result["n"], result["difference"], result["verdict"]) == (8, pytest.approx(4.5), "helps")
    assert against_baseline(found, margin=0.2)["other"]["verdict"] == "open"


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


def test_a_technique_that_cannot_be_compared_stays_in_the_family() -> None:
    found = {"baseline": BASELINE, "c": P_02, "diverged": replicates([[True] * 100])}
    assert against_baseline(found, margin=0.2)["c"]["sign_flip_p_holm"] == pytest.approx(2 * 10 / 512)
    (across,) = across_rates({0.001: found, 0.01: {**found, "c": P_04}}).values()
    assert across["interaction"]["sign_flip_p_holm"] == pytest.approx(min(1, 2 * across["interaction"]["sign_flip_p"]))


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the analysis reads, which is the current one."""
    for name in ("params.yaml", "replication/params.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "metrics/replicates", tmp_path / "metrics/replicates")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_analysis_is_that_of_the_replicates(study: Path) -> None:
    main()
    content = json.loads((study / "metrics/replication.json").read_text())
    assert content.keys() == COMMITTED.keys()
    assert content.pop("plan") == COMMITTED["plan"]
    results, committed = content.pop("results"), COMMITTED["results"]
    beyond = {key: COMMITTED[key] for key in content}
    assert dict(tables.flat(content)) == pytest.approx(dict(tables.flat(beyond)))
    for row, expected in zip(results, committed, strict=True):
        assert row.keys() == expected.keys()
        assert dict(tables.flat(row)) == pytest.approx(dict(tables.flat(expected)), abs=1e-9)
    patterns = ("replication.[cm]*", "replication/*")
    files = [path for pattern in patterns for path in (ROOT / "metrics").glob(pattern) if path.stem not in OF_OTHERS]
    for path in files:
        assert (study / path.relative_to(ROOT)).read_bytes() == path.read_bytes(), path
    written = [path for path in (study / "metrics").rglob("*") if path.is_file() and "replicates" not in path.parts]
    assert len(written) == len(files) + 1


def test_an_analysis_of_what_has_changed_is_discarded(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = read_yaml(study / "replication/params.yaml")
    plan.update(techniques=["baseline", "weight_decay"], seeds=[0, 1])
    plan["control"]["seeds"] = [0, 1]
    YAML(typ="safe", pure=True).dump(plan, study / "replication/params.yaml")

    def draw(*_: object) -> dict[str, bytes]:
        path = study / "metrics/replicates/0.001/baseline-1.json"
        path.write_text(path.read_text() + "\n")
        return {}

    monkeypatch.setattr(figures, "draw", draw)
    with pytest.raises(UserError, match=r"baseline-1\.json changed during this run\. Its result"):
        main()
    assert not list((study / "metrics").glob("replication*"))


def test_the_committed_tables_show_the_committed_analysis() -> None:
    rows = COMMITTED["results"]
    assert (ROOT / "metrics/replication.md").read_text() == tables.full(rows)
    assert (ROOT / "metrics/replication/overview.md").read_text() == tables.overview(rows)
    assert (ROOT / "metrics/replication/exercise.md").read_text() == tables.exercise(rows)
    table = pd.read_csv(ROOT / "metrics/replication.csv")
    for (_, line), row in zip(table.iterrows(), rows, strict=True):
        assert line.dropna().to_dict() == pytest.approx(dict(tables.flat(row)), abs=1e-4)  # six digits
