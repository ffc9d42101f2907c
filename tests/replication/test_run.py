"""Replicates and their analysis, through the real commands on the small data set."""

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from replication.analysis.results import unpacked
from replication.confirmation.files import read_confirmed
from tests.conftest import ROOT
from tests.project import Command, Project, longer_runs
from tests.replication.replicates import NAMES, TECHNIQUES, computed, outdated, read, replicate


def test_every_replicate_is_computed_and_analysed(replicated_project: Project) -> None:
    assert computed(replicated_project) == NAMES
    result = json.loads(replicated_project.read("metrics/replication.json"))
    rows = {row["technique"]: row for row in result["results"] if row["learning_rate"] == 0.01}
    for technique in TECHNIQUES:
        values = [100 * read(replicated_project, f"0.01/{technique}-{seed}")["test_accuracy"] for seed in (0, 1)]
        assert rows[technique]["test_accuracy"]["mean"] == pytest.approx(np.mean(values))
        assert rows[technique]["test_accuracy"]["n"] == 2
    accuracies = (rows[technique]["test_accuracy"]["mean"] for technique in ("dropout", "baseline"))
    assert rows["dropout"]["against_baseline"]["difference"] == pytest.approx(np.subtract(*accuracies))
    assert rows["baseline"]["against_baseline"] is None
    table = pd.read_csv(replicated_project.root / "metrics/replication.csv")
    means = [row["test_accuracy"]["mean"] for row in result["results"]]
    assert table["test_accuracy.mean"].tolist() == pytest.approx(means, rel=1e-5)
    assert "| dropout" in replicated_project.read("metrics/replication.md").decode()
    figures = {path.stem for path in replicated_project.root.glob("metrics/replication/*.png")}
    assert figures == {"accuracy", "differences", "curves", "images"}


def test_the_replicate_of_the_studys_seed_equals_the_study(replicated_project: Project) -> None:
    for technique in TECHNIQUES:
        replicate = read(replicated_project, f"0.01/{technique}-0")
        model = torch.load(replicated_project.root / f"models/{technique}.pt", weights_only=True)
        metrics = json.loads(replicated_project.read(f"metrics/evaluation/{technique}.json"))
        assert replicate["weights_sha256"] == model["weights_sha256"]
        assert replicate["test_accuracy"] == metrics["test_accuracy"]
        predictions = pd.read_csv(replicated_project.root / f"metrics/predictions/{technique}.csv")
        correct = unpacked(replicate["test_correct"], replicate["test_images"])
        assert correct.tolist() == (predictions["label"] == predictions["predicted"]).tolist()
        assert read(replicated_project, f"0.01/{technique}-1")["weights_sha256"] != model["weights_sha256"]


def test_the_seed_also_draws_the_validation_split(replicated_project: Project) -> None:
    # Few epochs on few images: with the same validation images, some losses would be nearly equal.
    losses = [read(replicated_project, f"0.01/baseline-{seed}")["validation_losses"] for seed in (0, 1)]
    assert not set(losses[0]) & set(losses[1])


def test_a_clone_without_a_cache_is_up_to_date(replicated_project: Project, tmp_path: Path) -> None:
    replicated_project.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "--cd", "replication", "status", "--quiet", "replicate", "control", "analyse")
    assert "0 replicates to compute" in replicate(clone)
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_added_seeds_compute_only_their_replicates(replicated: Project) -> None:
    before = replicated.files("metrics/replicates/*/*.json")
    confirmation = {"planned": 2, "seeds": [8], "longer": longer_runs(8)}
    replicated.change_plan(seeds=[0, 1, 7], confirmation=confirmation)
    assert "7 replicates to compute" in replicate(replicated)
    assert computed(replicated) == sorted([*NAMES, "0.01/baseline-7", "0.01/dropout-7"])
    after = replicated.files("metrics/replicates/*/*.json")
    assert {path: after[path] for path in before} == before
    rows = json.loads(replicated.read("metrics/replication.json"))["results"]
    assert [(row["learning_rate"], row["test_accuracy"]["n"]) for row in rows] == [
        (0.001, 2), (0.001, 2), (0.01, 3), (0.01, 3)
    ]  # fmt: skip
    longer = read_confirmed(replicated.root / "metrics/confirmation/longer/0.01/dropout-8.json")
    usual = read_confirmed(replicated.root / "metrics/confirmation/0.01/dropout-8.json")
    assert len(longer["validation_losses"]) == 7
    assert longer["validation_losses"][:5] == usual["validation_losses"]
    for rate, technique in itertools.product((0.001, 0.01), TECHNIQUES):
        confirmed = read_confirmed(replicated.root / f"metrics/confirmation/{rate}/{technique}-8.json")
        assert confirmed["learning_rate"] == rate
        assert confirmed["curves"]["test_accuracy"][confirmed["chosen_epoch"] - 1] == confirmed["test_accuracy"]


def test_only_settings_that_affect_replicates_outdate_them(replicated: Project) -> None:
    replicated.change_params(lambda params: params["train"].update(seed=5))
    replicated.change_params(lambda params: params["data"].update(split_seed=5))
    fingerprint = "replication/dvc.yaml:fingerprint"
    assert replicated.stages_run(fingerprint) == set()
    replicated.change_params(lambda params: params["train"].update(learning_rate=0.5))
    assert replicated.stages_run(fingerprint) == {fingerprint}
    assert outdated(replicated) == set()
    replicated.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.4))
    replicated.stages_run(fingerprint)
    assert outdated(replicated) == {f"{stage}@dropout-{seed}" for stage in ("replicate", "control") for seed in (0, 1)}
    replicated.change_params(lambda params: params["train"].update(epochs=4))
    replicated.stages_run(fingerprint)
    assert "replicate@baseline-0" in outdated(replicated)


def test_killed_replication_resumes_with_the_same_bytes(replicated: Project) -> None:
    replicated.change_plan(techniques=["baseline"])
    replicate(replicated)
    others = replicated.root.glob("metrics/replicates/*/dropout-*.json")
    for path in others:
        path.unlink()
    expected = replicated.files("metrics/replicates/*/*.json", "metrics/replication.*")
    for path in replicated.root.glob("metrics/replicates/*/*.json"):
        path.unlink()
    (replicated.root / "replication/dvc.lock").unlink()
    shutil.rmtree(replicated.root / ".dvc/cache")  # so that nothing is restored
    replicated.call_environment_ready()
    killed = Command(replicated, "make", "replicate")
    while not computed(replicated):
        assert killed.running(), killed.printed()
        time.sleep(0.05)
    killed.kill()
    orphaned = Command(replicated, "make", "replicate")
    while "to compute" not in orphaned.printed():
        assert orphaned.running(), orphaned.printed()
        time.sleep(0.05)
    orphaned.process.kill()
    last = Command(replicated, "make", "replicate")
    assert last.process.wait(timeout=300) == 0, last.printed()
    assert "Another 'make replicate' is running" in last.printed()
    assert replicated.files("metrics/replicates/*/*.json", "metrics/replication.*") == expected


def test_make_replicate_computes_the_others_when_one_fails(replicated: Project) -> None:
    replicated.call_environment_ready()
    lost = [replicated.root / f"metrics/replicates/{name}.json" for name in ("0.001/dropout-1", "0.01/baseline-0")]
    for path in lost:
        path.unlink()
    (replicated.root / "replication/dvc.lock").unlink()  # so that DVC does not restore them
    shutil.rmtree(replicated.root / ".dvc/cache/runs")
    shutil.rmtree(replicated.root / ".checkpoints")
    (replicated.root / ".checkpoints").mkdir()
    (replicated.root / ".checkpoints/0.01-baseline-0").write_text("a file in place of a folder")
    failed = replicated.run("make", "replicate", check=False, JOBS="2")
    assert failed.returncode != 0
    assert "1 of 14 replicates failed; see the messages above." in failed.stderr, failed.stdout + failed.stderr
    assert "Cannot write .checkpoints/0.01-baseline-0" in failed.stdout
    assert [path.exists() for path in lost] == [True, False]


def test_a_diverged_run_is_a_result_and_is_counted(replicated: Project) -> None:
    replicated.change_plan(techniques=["baseline"], learning_rate=1e6)
    assert "2 replicates to compute" in replicate(replicated)
    assert "diverged" in read(replicated, "1000000.0/baseline-0")["failure"]
    rows = json.loads(replicated.read("metrics/replication.json"))["results"]
    assert [row["failures"] for row in rows] == [0, 2]
    assert "2 diverged" in replicated.read("metrics/replication.md").decode()


def test_the_analysis_names_invalid_and_missing_replicates(replicated: Project) -> None:
    before = replicated.files("metrics/replication.*", "metrics/replication/*")
    folder = replicated.root / "metrics/replicates"
    emptied, edited, missing = (folder / f"{name}.json" for name in ("0.001/baseline-1", "0.01/dropout-0", NAMES[-1]))
    emptied.write_bytes(b"")
    content = json.loads(edited.read_text())
    edited.write_text(json.dumps(content | {"test_accuracy": content["test_accuracy"] / 2}))
    missing.unlink()
    result = replicated.run("python", "-m", "replication.analyse", check=False)
    assert result.returncode == 1
    *lines, remedy = result.stderr.splitlines()
    assert "0.001/baseline-1.json is invalid: it is not JSON" in lines[0]
    assert (
        "0.01/dropout-0.json is invalid: test_accuracy is not that of test_correct (replicate@dropout-0)." in lines[1]
    )
    assert "0.01/dropout-1.json: No such file or directory (replicate@dropout-1)." in lines[2]
    assert "Run `make replicate`" in remedy
    assert replicated.files("metrics/replication.*", "metrics/replication/*") == before


@pytest.mark.parametrize(
    ("program", "argument"), [("run", ""), ("worker", "replicate@dropout-0"), ("audit", "1"), ("analyse", "")]
)
def test_a_mistake_in_the_plan_stops_every_program_at_once(program: str, argument: str, tmp_path: Path) -> None:
    (tmp_path / "replication").mkdir()
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "replication/params.yaml").write_text("techniques: [baseline, nosuch]\n")
    command = ["python", "-m", f"replication.{program}", *argument.split()]
    result = Project(tmp_path).run(*command, check=False, PYTHONPATH=str(ROOT))
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert all(line.startswith("replication/params.yaml: ") and line.endswith("is missing; add it.") for line in lines)
    assert len(lines) == 5


def test_plain_dvc_computes_nothing_from_a_plan_with_a_mistake(replicated: Project) -> None:
    before = replicated.files("metrics/replicates/*/*.json", "metrics/replication.*")
    mistakes: dict[str, dict[str, Any]] = {
        "seeds.2 is '$(touch ran)', but must be a whole number.": {"seeds": [0, 1, "$(touch ran)"]},
        "seeds has a value twice; remove one.": {"seeds": [0, 0, 1]},
        "learning_rate: as part of file names it needs a decimal point": {"seeds": [0, 1], "learning_rate": 1},
    }
    for message, changes in mistakes.items():
        replicated.change_plan(**changes)
        result = replicated.dvc("--cd", "replication", "repro", check=False)
        assert result.returncode
        assert f"replication/params.yaml: {message}" in result.stderr
        assert replicated.stages_in(result.stdout) == {"fingerprint"}
    assert not list(replicated.root.rglob("ran"))
    assert replicated.files("metrics/replicates/*/*.json", "metrics/replication.*") == before
