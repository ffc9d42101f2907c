"""Runs side by side: one per core, and two."""

import json
import sys

import pytest

from benchmarks import jobs
from benchmarks.measure import CORES
from tests import quick_start
from tests.documents import metrics, words
from tests.project import Project


def test_one_and_two_runs_per_core_are_timed(benchmarked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(benchmarked.root)
    monkeypatch.setattr(sys, "executable", str(quick_start.programs() / "python"))
    monkeypatch.setattr(jobs, "ROUNDS", 1)
    jobs.main()
    result = json.loads(benchmarked.read("metrics/jobs.json"))
    one, two = (result["epochs_per_minute"][str(count)] for count in (CORES, 2 * CORES))
    assert min(one, two) > 0
    assert result["two per core / one per core"] == pytest.approx(two / one, abs=2e-3)


def test_the_page_has_the_measured_effect() -> None:
    measured = metrics("jobs")
    slower = 100 * (1 - measured["two per core / one per core"])
    assert f"Two runs per core train {slower:.0f} % fewer epochs per minute than one" in words("docs/performance.md")
