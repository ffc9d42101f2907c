"""The benchmark: what it compares, and processes that are timed together."""

import sys
from pathlib import Path

import pytest

from benchmarks.measure import timed, timed_together
from benchmarks.run import SHARES, available, require_images, require_what_is_compared
from lenet5.support.errors import UserError
from lenet5.support.params import check_params, load_params
from tests import quick_start
from tests.conftest import ROOT
from tests.project import Project


def test_every_run_side_by_side_is_timed(benchmarked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(benchmarked.root)
    monkeypatch.setattr(sys, "executable", str(quick_start.programs() / "python"))
    assert len(timed_together("native", 1.0, 2, 1)) == 2
    with pytest.raises(UserError, match=r"peer ended before it was timed\."):
        timed_together("peer", 1.0, 1, 1)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("data", "subset", 0.5), ("train", "learning_rate", 0.001), ("train", "dropout", 0.2)],
)
def test_settings_that_other_contenders_lack_are_rejected(section: str, name: str, value: float) -> None:
    params = load_params(ROOT / "params.yaml")
    require_what_is_compared(params)
    content = params.model_dump(by_alias=True)
    content[section][name] = value
    with pytest.raises(UserError, match=f"^{name} of baseline is {value} in params.yaml"):
        require_what_is_compared(check_params(content))


def test_missing_images_and_failed_programs_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^data/raw has no images\. Run `dvc repro"):
        require_images()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(UserError, match=r"^`python -m benchmarks\.timing native 1\.0 64` failed; see the"):
        timed("native", 1.0, "64")
    assert "Cannot read params.yaml" in capfd.readouterr().err


def test_torch_compile_is_left_out_without_a_cpp_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "nonsense")
    assert {"compile"} <= SHARES.keys() - available().keys() <= {"compile", "tensorflow"}
    assert capsys.readouterr().out.startswith("compile is left out: torch.compile needs g++")
