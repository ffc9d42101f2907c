"""The committed comparison of the two backends."""

import json

import pytest

from tests.conftest import ROOT


def test_both_backends_agree_within_what_another_seed_changes() -> None:
    results = json.loads((ROOT / "metrics/backends.json").read_text())["techniques"]
    assert set(results) == {"baseline", "batch_norm", "dropout", "weight_decay"}
    for result in results.values():
        native, torch, deviation = result["native"], result["torch"], result["deviation_over_seeds"]
        assert native["first_validation_loss"] == pytest.approx(torch["first_validation_loss"], rel=0.1)
        assert abs(native["lowest_validation_loss"] - torch["lowest_validation_loss"]) < 3 * deviation
