"""The parts of an epoch, and what augmentation adds to it."""

import json

from tests.project import Project


def test_every_part_of_an_epoch_is_timed(benchmarked: Project) -> None:
    parts = json.loads(benchmarked.run("python", "-m", "benchmarks.breakdown").stdout)
    assert list(parts) == ["gather and forward", "loss", "backward", "optimizer", "evaluation"]
    assert all(seconds > 0 for seconds in parts.values())


def test_every_kind_of_augmentation_is_timed(benchmarked: Project) -> None:
    seconds = json.loads(benchmarked.run("python", "-m", "benchmarks.augmentation").stdout)
    assert list(seconds) == ["epoch", "flip", "shift", "flip_shift", "flip_shift_erase"]
    assert all(value > 0 for value in seconds.values())
