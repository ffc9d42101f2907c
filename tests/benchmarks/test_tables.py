"""The tables of docs/performance.md."""

import json

import pytest

from benchmarks.tables import contenders, projected, shares, with_tables
from lenet5.support.errors import UserError
from tests.conftest import ROOT

EPOCH = {"train": 0.9, "evaluate": 0.3, "epoch": 1.2}
LIMIT = {"limit / train": 0.7, "limit / evaluate": 0.8, "limit / epoch": 0.725}
RESULTS = {
    "reference": "reference-0",
    "seconds_per_epoch": {"reference-0": {"epoch": 9.46}, "native": EPOCH, "native-dropout": EPOCH},
    "factors_at_equal_cores": {"reference-0": {"1": 7.88, "2": 14.0}},
    "kernels": {"AVX2": {"limit": 100.2, "gcc": {"C1 forward": {"gflops": 81.4, "share": 0.812}}}},
    "seconds_per_epoch_by_compiler": {"AVX2": {"gcc": EPOCH | LIMIT}},
    "projection": {"1": {"study": 480.0, "replicates": 9000.0}, "2": {"study": 246.0, "replicates": 4500.0}},
}


def test_the_tables_show_times_factors_and_shares_of_the_limit() -> None:
    assert contenders(RESULTS).splitlines() == [
        "|               |   seconds per epoch |   ours is faster, 1 core |   ours is faster, 2 cores |",
        "|:--------------|--------------------:|-------------------------:|--------------------------:|",
        "| ours, C       |                 1.2 |                          |                           |",
        "| standard loop |                 9.5 |                7.9 times |                14.0 times |",
    ]
    assert shares(RESULTS).splitlines() == [
        "|                            |   AVX2, gcc |",
        "|:---------------------------|------------:|",
        "| limit of one core, GFLOP/s |         100 |",
        "| C1 forward                 |   81 (81 %) |",
        "| training, seconds          | 0.90 (70 %) |",
        "| evaluation, seconds        | 0.30 (80 %) |",
        "| epoch, seconds             | 1.20 (72 %) |",
    ]
    assert projected(RESULTS).splitlines()[2:] == [
        "| study               |   8.0 |  4.1 |",
        "| replicates          | 150.0 | 75.0 |",
    ]
    with pytest.raises(UserError, match="lacks the lines"):
        with_tables("# Performance\n", RESULTS)


def test_the_page_shows_the_tables_of_the_committed_benchmark() -> None:
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert with_tables(page, json.loads((ROOT / "metrics/benchmark.json").read_text())) == page
