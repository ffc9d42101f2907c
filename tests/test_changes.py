"""Parameters, code or data change while a stage runs: its result is discarded, since DVC would record it wrongly."""

import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lenet5 import load_model
from lenet5.support import process
from tests import stage_process
from tests.conftest import ROOT
from tests.project import Command, Project, add_replication, yaml
from tests.test_resume import after_some_epochs

SOURCE = "stages/loaded.py"
# For each stage, the files of data that it reads, and an edit of params.yaml.
READ = {
    "check": ([], ("selected: baseline", "selected: dropout")),
    "prepare": ([], ("split_seed: 0", "split_seed: 1")),
    "train dropout": (["data/prepared/test.pt"], ("dropout: 0.2", "dropout: two")),
    "evaluate dropout": (["data/prepared/test.pt", "models/dropout.pt"], None),
    "summary": (["metrics/evaluation/dropout.json", "metrics/predictions/dropout.csv"], ("test: 88", "test: 98")),
    "plot": (["data/prepared/test.pt", "metrics/summary.json"], None),
    "select": (["metrics/evaluation/baseline.json"], ("selected: baseline", "selected: dropout")),
    "theory": ([], None),
}
RESULTS = [Path(name) for name in ("data/params.valid", "data/prepared", "models", "metrics")]


@dataclass(frozen=True)
class Edit:
    """Let a stage load `SOURCE` too, and change all that it reads as soon as it has begun to read."""

    files: list[str]
    params: tuple[str, str] | None

    def __call__(self) -> None:
        module = ModuleType("stages.loaded")
        module.__file__ = SOURCE
        sys.modules[module.__name__] = module
        begin = process.Inputs.__init__

        def begin_and_edit(inputs: Any, *arguments: Any) -> None:
            begin(inputs, *arguments)
            Path(SOURCE).write_text("# edited\n")
            for file in self.files:
                Path(file).touch()
            if self.params:
                text = Path("params.yaml").read_text()
                Path("params.yaml").write_text(text.replace(*self.params))

        process.Inputs.__init__ = begin_and_edit  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("stage", READ)
def test_a_stage_writes_nothing_if_what_it_read_has_changed(
    stage: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, params = READ[stage]
    monkeypatch.chdir(project.root)
    Path(SOURCE).write_text("# at the start\n")
    before = process.versions(RESULTS)
    ended = stage_process.run(project.root, *stage.split(), before=Edit(files, params))
    assert ended.status == 1, ended.output
    changed = sorted([SOURCE, *files, *(["params.yaml"] if params else [])])
    assert f"{', '.join(changed)} changed during this run. Its result is discarded, since DVC" in ended.output
    assert "Run the same command again." in ended.output and "Traceback" not in ended.output
    written = {str(path) for path, _ in process.versions(RESULTS).items() ^ before.items()}
    assert written - {"metrics/curves/dropout.csv"} == {*files} - {"metrics/curves/dropout.csv"}


def failed(command: Command) -> str:
    """Return what the command prints until it fails."""
    assert command.process.wait(timeout=120) != 0
    assert "Traceback" not in command.printed()
    return command.printed()


def test_dvc_never_records_a_run_during_which_files_changed(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=120))
    shutil.rmtree(project.root / "logs")
    model = project.root / "models/dropout.pt"

    running = after_some_epochs(project, "dvc", "repro", "train@dropout")
    lock = project.read("dvc.lock")
    project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.6))
    assert "dropout: params.yaml changed during this run." in failed(running)
    assert not model.exists()
    assert project.read("dvc.lock") == lock

    running = after_some_epochs(project, "dvc", "repro", "train@dropout")
    lock = project.read("dvc.lock")
    module = project.root / "lenet5/training/loop.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert "dropout: lenet5/training/loop.py changed during this run." in failed(running)
    assert not model.exists()
    assert project.read("dvc.lock") == lock

    project.dvc("repro", "train@dropout")
    assert load_model(model)[1]["origin"]["settings"]["dropout"] == 0.6
    recorded = yaml.load(project.root / "dvc.lock")["stages"]["train@dropout"]["params"]["params.yaml"]
    assert recorded["techniques.dropout"] == {"dropout": 0.6, "epochs": 120}
    log = project.read("logs/dropout.log").decode()
    assert len(re.findall(r" epoch 1/120", log)) == 3  # none of them resumed from another's checkpoint


def test_a_replicate_is_discarded_if_params_changed(project: Project) -> None:
    add_replication(project, ROOT)
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=120))
    running = Command(project, "python", "-m", "replication.replicate", "dropout", "0", "0.01")
    while not (project.root / "logs/0.01-dropout-0.log").exists():
        assert running.running(), running.printed()
        time.sleep(0.01)
    project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.6))
    assert "params.yaml changed during this run." in failed(running)
    assert not (project.root / "metrics/replicates").exists()


def error_of(project: Project, folder: str, *lines: str) -> str:
    """Return what a program of these lines, in a folder of code, prints as its error."""
    start = ("from lenet5.support.process import Inputs, set_up", "set_up()", "from pathlib import Path")
    (project.root / folder / "edit.py").write_text("\n".join([*start, *lines, ""]))
    ended = project.run(sys.executable, "-m", f"{folder}.edit", check=False)
    assert ended.returncode == 1
    return ended.stderr


def test_a_changed_plan_is_named(project: Project) -> None:
    add_replication(project, ROOT)
    error = error_of(
        project,
        "replication",
        "path = Path('replication/tuning/params.yaml')",
        "inputs = Inputs(path.read_text)",
        "path.write_text(inputs.parameters + '# edited')",
        "inputs.require_unchanged()",
    )
    assert error.startswith("replication/tuning/params.yaml changed during this run.")


def test_code_edited_while_a_program_starts_is_noticed(project: Project) -> None:
    error = error_of(
        project,
        "stages",
        "from lenet5.support import params",
        "path = Path('lenet5/support/params.py')",
        "path.write_text(path.read_text() + '# edited')",
        "Inputs(params.load_params)",
    )
    assert error.startswith("lenet5/support/params.py changed during this run.")


@pytest.mark.parametrize("file", ["dvc.yaml", "replication/dvc.yaml", "replication/tuning/dvc.yaml"])
def test_every_stage_compares_what_it_read(file: str) -> None:
    programs = set(re.findall(r"python -m ([\w.]+)", (ROOT / file).read_text()))
    paths = {program: ROOT / program.replace(".", "/") for program in programs}
    mains = {
        program: path / "__main__.py" if path.is_dir() else path.with_suffix(".py") for program, path in paths.items()
    }
    texts = {program: path.read_text() for program, path in mains.items()}
    # Runs of recipes are computed by the function that computes the replicates.
    compares = ("    inputs.require_unchanged()\n", "from replication.replicate import compute, of_seed\n")
    assert [program for program, text in texts.items() if not any(each in text for each in compares)] == []
