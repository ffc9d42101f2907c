"""The plan of the replication, and how a replicate stores its predictions."""

import re
from pathlib import Path

import numpy as np
import pytest

from lenet5.support.errors import UserError
from replication.analysis.results import load_plan, packed, unpacked
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seeds: [1]", "seeds is [1], but must be a longer list"),
        ("seeds: 3", "seeds is 3, but must be a list"),
        ("seeds: [1, 2, 1]", "seeds has a value twice"),
        ("techniques: [dropout]", "techniques has no baseline, with which every technique is compared"),
        ("techniques: [baseline, nosuch]", "techniques has 'nosuch', which is not a technique in params.yaml"),
        ("learning_rate: -1.0", "learning_rate is -1.0, but must be greater than 0"),
        ("learning_rate: 0.001", "control.learning_rate is 0.001, as learning_rate"),
        ("seeds:", "seeds is null, but must be a list"),
        ("equivalence_points: .nan", "equivalence_points is nan, but must be a finite number"),
        ("learning_rat: 0.01", "learning_rat is an unknown key; the known keys are: learning_rate, seeds,"),
        ("control: [", "is not valid YAML in line"),
    ],
)
def test_a_mistake_in_the_plan_is_reported(line: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "replication/params.yaml").read_text()
    key = line.partition(":")[0][:12]
    lines = [line if old.startswith(key) else old for old in text.splitlines()]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=re.escape(message)):
        load_plan(tmp_path / "params.yaml")


@pytest.mark.parametrize(("content", "message"), [(None, "Cannot read"), ("", "must be a mapping with the keys")])
def test_an_absent_or_empty_plan_is_reported(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_plan(path)


def test_packed_and_unpacked_are_inverse() -> None:
    for count in (1, 8, 13, 100):
        correct = np.random.default_rng(count).random(count) < 0.8
        assert np.array_equal(unpacked(packed(correct), count), correct)
