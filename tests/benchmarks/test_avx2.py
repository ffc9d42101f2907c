"""Ours and the standard loop, both limited to AVX2."""

import json
import sys

import pytest

from benchmarks import avx2
from tests import quick_start
from tests.documents import metrics, words
from tests.project import Project


def test_ours_and_the_standard_loop_are_timed_with_avx2(benchmarked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(benchmarked.root)
    monkeypatch.setattr(sys, "executable", str(quick_start.programs() / "python"))
    monkeypatch.setattr(avx2, "ROUNDS", 1)
    monkeypatch.setattr(avx2, "standard_loop", lambda: ("reference-0", 1.0))
    avx2.main()
    result = json.loads(benchmarked.read("metrics/avx2.json"))
    loop, ours = (result["epochs_per_minute"][name] for name in ("standard loop", "ours"))
    assert min(loop, ours) > 0
    assert result["ours / standard loop"] == pytest.approx(ours / loop, rel=2e-2)


def test_the_page_has_the_factor_with_avx2() -> None:
    factor = metrics("avx2")["ours / standard loop"]
    assert f"train {factor:.1f} times as many epochs per minute as the standard loop" in words("docs/performance.md")
