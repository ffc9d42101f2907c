"""The time on other numbers of cores."""

import os
from pathlib import Path

import pytest

from benchmarks.projection import CORES, makespan, projection
from benchmarks.study import training_seconds

BENCHMARK = {
    "seconds": {"before and after training": 15.0, "nothing to do": 2.0},
    "seconds_per_epoch": {"native": {"start": 3.0, "epoch": 1.0}, "native-dropout": {"start": 3.0, "epoch": 1.2}},
    "epochs_per_minute": {"native": {"1": 60.0, "2": 100.0}},
}


def test_runs_start_on_the_first_core_that_is_free() -> None:
    assert makespan([3, 2, 2, 1], 1) == 8
    assert makespan([3, 2, 2, 1], 2) == 4
    assert makespan([3, 2, 2, 1], 128) == 3


def test_the_projection_starts_from_what_was_measured() -> None:
    projected = projection(BENCHMARK, {"baseline": 80, "dropout": 80}, replicates=20)
    assert list(map(int, projected)) == list(CORES)
    # On one core nothing runs beside; on two, each epoch takes 1.2 times as long.
    assert projected["1"]["study"] == pytest.approx(15 + (3 + 80) + (3 + 96), abs=0.1)
    assert projected["2"]["study"] == pytest.approx(15 + 3 + 96 * 1.2, abs=0.1)
    assert projected["1"]["replicates"] == 20 * (2 + 3 + 80 + 2 + 3 + 96)
    for part in ("study", "replicates"):
        times = [of[part] for of in projected.values()]
        assert times[1:] == sorted(times[1:], reverse=True)
    assert projected["128"]["study"] == projected["2"]["study"]
    assert projected["64"]["replicates"] == projected["128"]["replicates"] == pytest.approx(2 + 3 + 96 * 1.2, abs=0.1)


def test_training_lasts_from_the_prepared_data_to_the_last_model(tmp_path: Path) -> None:
    for name, time in (("data/prepared/test.pt", 90), ("data/prepared/train.pt", 100), ("models/a.pt", 150)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    (tmp_path / "models/README.md").touch()
    assert training_seconds(tmp_path) == 50
