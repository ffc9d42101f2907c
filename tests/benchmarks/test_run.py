"""What the benchmark compares does what it says, on the small data set; how fast, only a quiet machine can tell."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks import figure
from benchmarks.run import require_what_is_compared
from lenet5.support.errors import UserError
from lenet5.support.params import Params
from stages.plot import png
from tests.conftest import ROOT
from tests.project import Project


@pytest.fixture
def benchmarked(computed_project: Project, tmp_path: Path) -> Project:
    """A computed project with the benchmarks."""
    project = computed_project.copy(tmp_path / "project")
    shutil.copytree(ROOT / "benchmarks", project.root / "benchmarks")
    return project


@pytest.mark.parametrize("contender", ["native-dropout", "torch", "reference-0", "peak", "jax", "keras"])
def test_a_contender_trains_lenet_5_and_is_timed(contender: str, benchmarked: Project) -> None:
    if contender in ("jax", "keras") and not importlib.util.find_spec("keras"):
        pytest.skip("needs what `make benchmark` installs")
    said = benchmarked.run("python", "-m", "benchmarks.timing", contender, "1.0", "16", "32").stdout
    for figures in json.loads(said):
        assert figures["epoch"] == figures["train"] + figures["evaluate"] > 0
        assert figures["start"] > 0
        assert 50 < figures["megabytes"] < 2000


def test_trainings_side_by_side_wait_for_each_other(benchmarked: Project) -> None:
    program = "from benchmarks.run import timed_together; print(len(timed_together('native', 1.0, 2, 1)))"
    assert benchmarked.run("python", "-c", program).stdout == "2\n"
    failed = benchmarked.run("python", "-c", program.replace("native", "peer"), check=False)
    assert failed.returncode == 1
    assert "peer ended before it was timed." in failed.stderr


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("data", "subset", 0.5), ("train", "learning_rate", 0.001), ("train", "dropout", 0.2)],
)
def test_data_and_settings_that_the_other_loops_do_not_have_are_refused(section: str, name: str, value: float) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    require_what_is_compared(Params.model_validate(params))
    params[section][name] = value
    with pytest.raises(UserError, match=f"^{name} of baseline is {value} in params.yaml"):
        require_what_is_compared(Params.model_validate(params))


def test_the_parts_of_an_epoch_are_timed(benchmarked: Project) -> None:
    parts = json.loads(benchmarked.run("python", "-m", "benchmarks.breakdown").stdout)
    assert list(parts) == ["gather and forward", "loss", "backward", "optimizer", "evaluation"]
    assert all(seconds > 0 for seconds in parts.values())


def test_both_backends_begin_alike_and_end_within_what_another_seed_changes() -> None:
    results = json.loads((ROOT / "metrics/backends.json").read_text())["techniques"]
    assert set(results) == {"baseline", "batch_norm", "dropout", "weight_decay"}
    for of in results.values():
        native, torch, deviation = of["native"], of["torch"], of["deviation_over_seeds"]
        assert native["first_validation_loss"] == pytest.approx(torch["first_validation_loss"], rel=0.1)
        assert abs(native["lowest_validation_loss"] - torch["lowest_validation_loss"]) < 3 * deviation


def test_the_figure_is_that_of_the_results() -> None:
    results = json.loads((ROOT / "metrics/benchmark.json").read_text())
    assert png(figure.draw(results)) == (ROOT / "metrics/benchmark.png").read_bytes()
