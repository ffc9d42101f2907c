"""The plan of the replication, and how a replicate stores its predictions."""

from pathlib import Path

import numpy as np
import pytest

from lenet5.support.errors import UserError
from replication.analysis.results import load_plan, packed, unpacked
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("line", "message"),
    [("seeds: [1]", "seeds"), ("techniques: [dropout]", "baseline"), ("learning_rate: -1.0", "learning_rate")],
)
def test_a_mistake_in_the_plan_is_reported(line: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "replication/params.yaml").read_text()
    key = line.partition(":")[0]
    lines = [line if old.startswith(key) else old for old in text.splitlines()]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=message):
        load_plan(tmp_path / "params.yaml")


def test_packed_and_unpacked_are_inverse() -> None:
    for count in (1, 8, 13, 100):
        correct = np.random.default_rng(count).random(count) < 0.8
        assert np.array_equal(unpacked(packed(correct), count), correct)
