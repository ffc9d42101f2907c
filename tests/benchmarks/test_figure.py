"""The committed figure of the benchmark."""

import json

from benchmarks.figure import draw
from lenet5.report.figures import png
from tests.conftest import ROOT


def test_the_committed_figure_shows_the_committed_results() -> None:
    results = json.loads((ROOT / "metrics/benchmark.json").read_text())
    assert png(draw(results)) == (ROOT / "metrics/benchmark.png").read_bytes()
