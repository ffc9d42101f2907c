"""`make experiments`, and DVC's own experiments in a clean clone."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from commands.experiments import COLUMNS, table
from tests.project import OFFLINE, Project, computed_once

TECHNIQUES = ("baseline", "dropout", "weight_decay")
MAKE = ("make", "--old-file=.venv/ready", "experiments")


@pytest.fixture(scope="session")
def fewer_techniques(computed_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The computed project without batch normalisation, committed. All tests share it: change only a copy."""

    def compute(root: Path) -> None:
        project = computed_project.copy(root)
        project.change_params(lambda params: params["techniques"].pop("batch_norm"))
        project.run("python", "-m", "commands.sync", "--yes")
        project.dvc("repro")
        project.commit("without batch normalisation")

    return computed_once("fewer_techniques", compute, tmp_path_factory)


@pytest.fixture
def committed(fewer_techniques: Project, tmp_path: Path) -> Project:
    return fewer_techniques.copy(tmp_path / "project")


def experiments(project: Project) -> dict[str, str]:
    """Return the commit of each experiment by its name, which must be unique."""
    lines = project.run("git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/??/*/*").stdout
    pairs = [(ref.split("/")[-1], commit) for ref, commit in (line.split() for line in lines.splitlines())]
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def state(project: Project) -> tuple[object, ...]:
    """Return everything that `make experiments` must not change."""
    git = [
        project.run("git", *command).stdout
        for command in (
            ("status", "--porcelain=v2", "--branch"),
            ("diff", "HEAD"),
            ("diff", "--cached"),
            ("stash", "list"),
            ("for-each-ref", "refs/heads", "refs/tags"),
        )
    ]
    return git, project.files("*", "metrics/**/*", "models/*", "data/**/*", "lenet5/**/*.py", "stages/*.py")


def test_experiments_compare_techniques_and_change_no_file(committed: Project) -> None:
    project = committed
    project.dvc("exp", "save", "--name", "mine")
    mine = experiments(project)["mine"]
    (project.root / "notes.txt").write_text("of the user\n")
    (project.root / "Makefile").write_bytes(project.read("Makefile") + b"# staged\n")
    project.run("git", "add", "Makefile")
    before = state(project)
    table = project.run(*MAKE).stdout
    assert [line.split()[0] for line in table.splitlines()[-len(TECHNIQUES) :]] == list(TECHNIQUES)
    assert state(project) == before
    assert set(experiments(project)) == {"mine", *TECHNIQUES}

    change = json.loads(project.dvc("metrics", "diff", "baseline", "dropout", "--json").stdout)
    assert list(change) == ["metrics/selected.json"]
    for key in ("test_accuracy", "test_loss", "validation_loss", "test_calibration_error"):
        old, new = (
            json.loads(project.read(f"metrics/evaluation/{name}.json"))[key] for name in ("baseline", "dropout")
        )
        found = change["metrics/selected.json"][key]
        assert (found["old"], found["new"], found["diff"]) == (old, new, pytest.approx(new - old))
    assert (
        "| metrics/selected.json | test_loss " in project.dvc("metrics", "diff", "baseline", "dropout", "--md").stdout
    )

    compared = project.run("python", "-m", "commands.compare", "baseline", "dropout", "--json").stdout
    [row] = json.loads(compared)["comparisons"]
    assert row["techniques"] == ["baseline", "dropout"]
    accuracy, loss = (change["metrics/selected.json"][f"test_{name}"]["diff"] for name in ("accuracy", "loss"))
    assert row["test_accuracy"]["difference"] == pytest.approx(100 * accuracy)
    assert row["test_loss"]["difference"] == pytest.approx(loss)

    # Remove one technique and add another, without a commit.
    def change_techniques(params: dict[str, dict[str, object]]) -> None:
        del params["techniques"]["weight_decay"]
        params["techniques"]["short"] = {"epochs": 2}

    project.change_params(change_techniques)
    rejected = project.run(*MAKE, check=False)
    assert rejected.returncode != 0
    assert "not up to date with params.yaml" in rejected.stderr
    assert set(experiments(project)) == {"mine", *TECHNIQUES}
    project.dvc("repro")
    before = state(project)
    project.run(*MAKE)
    assert state(project) == before
    assert set(experiments(project)) == {"mine", "baseline", "dropout", "short"}
    assert experiments(project)["mine"] == mine
    metrics = json.loads(project.dvc("metrics", "diff", "short", "dropout", "--json").stdout)
    assert metrics["metrics/selected.json"]["chosen_epoch"]["old"] <= 2

    # An experiment is the whole project with another technique selected, from which work can continue.
    (project.root / "notes.txt").unlink()
    project.commit("other techniques")
    changed = project.run("git", "diff", "--name-only", "HEAD", experiments(project)["short"]).stdout.split()
    assert changed == ["dvc.lock", "metrics/selected.json", "params.yaml"]
    project.dvc("exp", "apply", "short")
    assert project.params()["selected"] == "short"
    assert project.stages_run("select") == set()


def test_experiments_in_a_hook_of_a_worktree_change_nothing(committed: Project, tmp_path: Path) -> None:
    # Git runs this hook with GIT_DIR and GIT_INDEX_FILE set.
    hook = committed.root / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nenv > hook.txt\nexec python -m commands.experiments\n")
    hook.chmod(0o755)
    committed.run("git", "worktree", "add", "--quiet", str(tmp_path / "worktree"))
    project = Project(tmp_path / "worktree")
    (project.root / "README.md").write_text("of the user\n")
    project.run("git", "add", "README.md")
    asked = ("git", "status", "--porcelain=v2", "--branch")
    status_before, before = committed.run(*asked).stdout, state(committed)
    project.run("git", "commit", "--quiet", "--message", "with a hook")
    assert set(experiments(project)) == set(TECHNIQUES)
    assert {"GIT_DIR", "GIT_INDEX_FILE"} <= {line.split("=")[0] for line in project.read("hook.txt").decode().split()}
    status = project.run(*asked).stdout
    assert "# branch.head worktree\n" in status
    assert [line for line in status.splitlines() if not line.startswith("#")] == ["? hook.txt"]
    assert state(committed)[1] == before[1]
    assert committed.run(*asked).stdout == status_before


def test_names_that_are_already_taken_are_rejected(committed: Project) -> None:
    project = committed
    project.run("git", "branch", "dropout")
    rejected = project.run(*MAKE, check=False)
    assert rejected.returncode != 0
    assert "'dropout' already names something else" in rejected.stderr
    project.run("git", "branch", "--delete", "dropout")
    project.dvc("exp", "save", "--name", "dropout")
    before = experiments(project)
    rejected = project.run(*MAKE, check=False)
    assert rejected.returncode != 0
    assert "dvc exp rename dropout NEW_NAME" in rejected.stderr
    assert experiments(project) == before


def dropout_rate(run: dict[str, Any]) -> float:
    """Return the rate of dropout in an experiment, as `dvc exp show --json` shows it."""
    return float(run["data"]["params"]["params.yaml"]["data"]["techniques"]["dropout"]["dropout"])


def test_dvc_experiments_in_a_clone_download_nothing_again(committed: Project, tmp_path: Path) -> None:
    committed.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    project = Project(tmp_path / "clone")
    shutil.copytree(committed.root / "data/raw", project.root / "data/raw")
    queue = ("exp", "run", "--queue", "-S", "train.epochs=2", "-S", "techniques.dropout.dropout=0.3,0.5")
    project.run(*OFFLINE, "dvc", *queue, "evaluate@dropout")
    project.run(*OFFLINE, "dvc", "queue", "start", "-j", "2")
    # Meanwhile, run another one in the workspace.
    project.dvc("exp", "run", "--name", "five", "-S", "train.epochs=5", "evaluate@baseline")
    assert len(project.read("metrics/curves/baseline.csv").splitlines()) == 1 + 5
    rates: dict[float, str] = {}
    deadline = time.monotonic() + 300
    while set(rates) != {0.2, 0.3, 0.5}:
        assert time.monotonic() < deadline, project.dvc("queue", "status").stdout
        time.sleep(2)
        shown = json.loads(project.dvc("exp", "show", "--json").stdout)
        done = [run["revs"][-1] for run in shown[1]["experiments"] or []]
        rates = {dropout_rate(run): run["name"] for run in done if run["data"] and run["data"]["metrics"]}
    project.dvc("queue", "stop", "--kill", check=False)  # workers that are still running
    change = json.loads(project.dvc("metrics", "diff", rates[0.3], rates[0.5], "--json").stdout)
    assert set(change) == {"metrics/evaluation/dropout.json"}


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "dvc.yaml has no stage check, plot"), ("<<<<<<< HEAD\nstages:\n", "is invalid (possible merge conflicts)")],
    ids=["empty", "with a merge conflict"],
)
def test_a_damaged_dvc_yaml_is_named_once_without_a_traceback(content: str, message: str, committed: Project) -> None:
    (committed.root / "dvc.yaml").write_text(content)
    failed = committed.run("python", "-m", "commands.experiments", check=False)
    assert (failed.returncode, failed.stderr.count("\n"), failed.stderr.count(message)) == (1, 1, 1)
    assert experiments(committed) == {}
    failed = committed.run("python", "-m", "commands.report", check=False)
    assert failed.returncode == 1 and "dvc.yaml" in failed.stderr and "Traceback" not in failed.stderr
    assert not (committed.root / "report.html").exists()


def test_a_technique_named_null_is_shown() -> None:
    columns = ",".join(f"metrics/selected.json:{name}" for name in COLUMNS)
    rows = table(f"Experiment,{columns}\nmain{',0.5' * len(COLUMNS)}\nnull{',0.25' * len(COLUMNS)}\n", ["null"])
    assert rows.splitlines()[1].split() == ["null", *["0.25"] * len(COLUMNS)]
