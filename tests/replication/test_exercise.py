"""What the exercise's accuracies count, from its eight numbers, and how ours compare when counted in the same way."""

import itertools

import numpy as np
import pytest

from lenet5.support.params import ReportedAccuracies, load_params
from replication.analysis import tables
from replication.analysis.exercise import (
    compare_with_exercise,
    counted_images,
    expected_range,
    percentile,
    ten_per_batch,
    what_is_counted,
)
from replication.analysis.results import Replicates
from tests.conftest import ROOT

EXERCISE = load_params(ROOT / "params.yaml").exercise
RIGHT = {
    "baseline": (1430, 6762),
    "batch_norm": (1414, 6812),
    "dropout": (1448, 7095),
    "weight_decay": (1424, 6849),
}


def test_the_exercise_counts_ten_images_per_batch_and_45() -> None:
    # To the last digit that the exercise prints.
    for name, (test, train) in RIGHT.items():
        assert (EXERCISE[name].test, EXERCISE[name].train) == (100 * test / 1615, 100 * train / 7545)
    assert ten_per_batch(10_000) == 10 * 157 + 45 == 1615
    assert ten_per_batch(48_000) == 10 * 750 + 45 == 7545
    assert what_is_counted(EXERCISE) == {
        "test": {"total": 1615, "ten_per_batch": 1615, "start": 45},
        "train": {"total": 7545, "ten_per_batch": 7545, "start": 45},
    }


def test_the_images_counted_are_the_common_denominator() -> None:
    assert counted_images([1 / 2, 1 / 3, 3 / 4]) == 12
    assert counted_images([43_797 / 48_000]) == 16_000  # 14,599 / 16,000
    assert counted_images([43_797 / 48_000, 43_799 / 48_000]) == 48_000


def test_other_accuracies_are_taken_as_shares_of_images() -> None:
    assert what_is_counted({}) == {}
    counted = what_is_counted({"baseline": ReportedAccuracies(test=88.54, train=89.6)})
    assert [(each["total"], each["start"]) for each in counted.values()] == [(5000, 0), (125, 0)]


def test_a_percentile_counts_samples_and_half_of_the_ties() -> None:
    # Three of five images are counted, and one is added to both numbers: right of 4 images.
    images = {network: [True] * network + [False] * (5 - network) for network in (2, 4)}
    shown = {network: [1 + sum(sample) for sample in itertools.combinations(of, 3)] for network, of in images.items()}
    expected = np.mean([np.mean([(each < 3) + (each == 3) / 2 for each in of]) for of in shown.values()])
    correct = np.array(list(shown))
    assert percentile(3, 4, 1, correct, 5) == pytest.approx(100 * expected)
    assert percentile(0, 4, 1, correct, 5) == 0 and percentile(5, 4, 1, correct, 5) == 100
    # No sample shows 1 of 4; 2.5 % of those of the first network are 2 (0 + 1 + 1), of the second 4 (3 + 1).
    assert expected_range(4, 1, correct, 5) == [100 * min(shown[2]) / 4, 100 * max(shown[4]) / 4]


def test_images_that_all_count_leave_the_spread_over_networks() -> None:
    correct = np.array([1, 2, 3, 4])
    assert percentile(3, 5, 0, correct, 5) == 62.5
    assert expected_range(5, 0, correct, 5) == [20, 80]


def test_a_comparison_needs_as_many_images_as_the_exercise() -> None:
    accuracy = 1023 / 1615
    assert int(accuracy * 1615) == 1022  # so the number of right images must be rounded
    runs = [{"seed": seed, "test_images": 1615, "test_accuracy": accuracy, "train_accuracy": 0.9} for seed in (0, 1)]
    compared = compare_with_exercise(Replicates(runs), EXERCISE["dropout"], what_is_counted(EXERCISE), 5000)
    assert compared["test"].keys() == {"accuracy", "percentile", "percentile_all_images", "range"}
    assert compared["test"]["range"] == expected_range(1615, 45, np.array([1023]), 1615)
    assert compared["train"] == {"accuracy": EXERCISE["dropout"].train}
    table = tables.exercise([{"technique": "dropout", "learning_rate": 0.1, "exercise": compared}])
    assert table.splitlines()[2].split("|")[-4:-1] == ["     94.04 ", "              ", "              "]
