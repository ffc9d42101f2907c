"""The parts of an epoch."""

import json

from tests.project import Project


def test_every_part_of_an_epoch_is_timed(benchmarked: Project) -> None:
    parts = json.loads(benchmarked.run("python", "-m", "benchmarks.breakdown").stdout)
    assert list(parts) == ["gather and forward", "loss", "backward", "optimizer", "evaluation"]
    assert all(seconds > 0 for seconds in parts.values())
