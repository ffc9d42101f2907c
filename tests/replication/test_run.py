"""Replicates and their analysis, through the real commands on the small data set."""

import json
import shutil
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from replication.analyse import against_baseline, verdict
from replication.replicate import packed
from replication.analysis.results import Replicates, load_plan, unpacked
from lenet5.support.errors import UserError
from tests.conftest import ROOT
from tests.project import Command, Project, add_replication
from tests.test_dependencies import assert_reads_what_it_says, stages

TECHNIQUES = ("baseline", "dropout")
NAMES = [f"{rate}/{technique}-{seed}" for rate in (0.001, 0.01) for technique in TECHNIQUES for seed in (0, 1)]


@pytest.fixture(scope="module")
def replicated_project(computed_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project with a few replicates computed. Shared: look, do not touch."""
    root = tmp_path_factory.mktemp("replicated") / "project"
    project = computed_project.copy(root)
    add_replication(project, ROOT)
    replicate(project)
    project.commit("replicates")
    return project


@pytest.fixture
def replicated(replicated_project: Project, tmp_path: Any) -> Project:
    """A copy to change."""
    return replicated_project.copy(tmp_path / "replicated")


def replicate(project: Project) -> str:
    return project.run(sys.executable, "-m", "replication.run", "2").stdout


def computed(project: Project) -> list[str]:
    root = project.root / "metrics/replicates"
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*.json"))


def read(project: Project, name: str) -> dict[str, Any]:
    replicate: dict[str, Any] = json.loads(project.read(f"metrics/replicates/{name}.json"))
    return replicate


def test_each_replicate_is_computed_and_the_tables_and_figures_join_them(replicated_project: Project) -> None:
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
    assert figures == {"accuracy", "differences", "curves"}


def test_the_replicate_of_the_studys_own_seed_is_the_studys_own_training(replicated_project: Project) -> None:
    for technique in TECHNIQUES:
        replicate = read(replicated_project, f"0.01/{technique}-0")
        model = torch.load(replicated_project.root / f"models/{technique}.pt", weights_only=True)
        figures = json.loads(replicated_project.read(f"metrics/evaluation/{technique}.json"))
        assert replicate["weights_sha256"] == model["weights_sha256"]
        assert replicate["test_accuracy"] == figures["test_accuracy"]
        predictions = pd.read_csv(replicated_project.root / f"metrics/predictions/{technique}.csv")
        correct = unpacked(replicate["test_correct"], replicate["test_images"])
        assert correct.tolist() == (predictions["label"] == predictions["predicted"]).tolist()
        assert read(replicated_project, f"0.01/{technique}-1")["weights_sha256"] != model["weights_sha256"]


def test_the_seed_changes_the_split_too(replicated_project: Project) -> None:
    # Few epochs on few images: were the validation images the same ones, some loss would be a near repetition.
    losses = [read(replicated_project, f"0.01/baseline-{seed}")["validation_losses"] for seed in (0, 1)]
    assert not set(losses[0]) & set(losses[1])


def test_a_clone_without_any_cache_is_up_to_date_and_computes_nothing(
    replicated_project: Project, tmp_path: Any
) -> None:
    replicated_project.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "--cd", "replication", "status", "--quiet", "replicate", "control", "analyse")
    assert "0 replicates to compute" in replicate(clone)
    assert clone.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("name", stages("replication/dvc.yaml"))
def test_a_stage_imports_and_reads_exactly_what_dvc_yaml_says(name: str, replicated: Project) -> None:
    assert_reads_what_it_says(name, stages("replication/dvc.yaml")[name], replicated)


def test_an_added_seed_computes_what_is_new_and_the_joins(replicated: Project) -> None:
    before = replicated.files("metrics/replicates/*/*.json")
    replicated.change_plan(seeds=[0, 1, 7])
    assert "2 replicates to compute" in replicate(replicated)
    assert computed(replicated) == sorted([*NAMES, "0.01/baseline-7", "0.01/dropout-7"])
    after = replicated.files("metrics/replicates/*/*.json")
    assert {path: after[path] for path in before} == before
    assert json.loads(replicated.read("metrics/replication.json"))["results"][0]["test_accuracy"]["n"] == 3


def test_the_studys_own_seed_and_learning_rate_touch_no_replicate_but_its_epochs_do(replicated: Project) -> None:
    def outdated() -> str:
        return replicated.run("dvc", "--cd", "replication", "status", "replicate").stdout

    replicated.change_params(lambda params: params["train"].update(seed=5, learning_rate=0.5))
    replicated.change_params(lambda params: params["data"].update(split_seed=5))
    assert "up to date" in outdated()
    replicated.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.4))
    assert "dropout-0" in outdated()
    assert "baseline-0" not in outdated()
    replicated.change_params(lambda params: params["train"].update(epochs=4))
    assert "baseline-0" in outdated()


def test_killed_it_goes_on_and_ends_in_the_same_bytes(replicated: Project) -> None:
    expected = replicated.files("metrics/replicates/*/*.json", "metrics/replication.*")
    for path in replicated.root.glob("metrics/replicates/*/*.json"):
        path.unlink()
    (replicated.root / "replication/dvc.lock").unlink()
    shutil.rmtree(replicated.root / ".dvc/cache")  # so that nothing is restored
    replicated.call_environment_ready()
    killed = Command(replicated, "make", "replicate")
    while not computed(replicated):
        assert killed.running(), killed.said()
        time.sleep(0.05)
    killed.kill()
    orphaned = Command(replicated, "make", "replicate")
    while len(computed(replicated)) < 2:
        assert orphaned.running(), orphaned.said()
        time.sleep(0.05)
    orphaned.process.kill()
    last = Command(replicated, "make", "replicate")
    assert last.process.wait(timeout=300) == 0, last.said()
    assert "Another 'make replicate' is at work" in last.said()
    assert replicated.files("metrics/replicates/*/*.json", "metrics/replication.*") == expected


def test_a_training_that_diverges_is_a_result_and_is_counted(replicated: Project) -> None:
    replicated.change_plan(learning_rate=1e6)
    replicate(replicated)
    assert "diverged" in read(replicated, "1000000.0/baseline-0")["failure"]
    rows = json.loads(replicated.read("metrics/replication.json"))["results"]
    assert [row["failures"] for row in rows] == [2, 2, 0, 0]
    assert "2 diverged" in replicated.read("metrics/replication.md").decode()


def test_a_failing_replicate_is_told_with_its_reason(replicated: Project) -> None:
    replicated.change_plan(techniques=["baseline", "dropout", "nosuch"])
    result = replicated.run(sys.executable, "-m", "replication.run", "2", check=False)
    assert result.returncode != 0
    assert "nosuch" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [("seeds: [1]", "seeds"), ("techniques: [dropout]", "baseline"), ("learning_rate: -1.0", "learning_rate")],
)
def test_a_mistake_in_the_plan_is_told_in_a_sentence(line: str, said: str, tmp_path: Any) -> None:
    text = (ROOT / "replication/params.yaml").read_text()
    key = line.partition(":")[0]
    lines = [line if old.startswith(key) else old for old in text.splitlines()]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=said):
        load_plan(tmp_path / "params.yaml")


def replicates(correct: list[list[bool]], first_seed: int = 0) -> Replicates:
    """Of which seeds recognised which images."""
    return Replicates(
        [
            {
                "seed": seed,
                "test_images": len(row),
                "test_correct": packed(np.array(row)),
                "test_accuracy": np.mean(row),
                "test_loss": 0.3,
                "test_calibration_error": 0.01,
                "train_accuracy": 0.9,
                "chosen_epoch": 3,
            }
            for seed, row in enumerate(correct, start=first_seed)
        ]
    )


def test_a_comparison_is_over_the_seeds_that_both_have() -> None:
    baseline = replicates([[True, False, False, True]] * 3)
    ours = replicates([[True, True, False, True]] * 4, first_seed=1)
    result = against_baseline({"baseline": baseline, "other": ours}, margin=0.2)["other"]
    assert result["n"] == 2
    assert result["difference"] == 25
    assert result["interval"] == [25, 25]
    low, high = result["interval_new_images"]
    assert low <= 25 <= high


def test_the_verdict_follows_the_plan() -> None:
    assert verdict(0.01, 0.5, None) == "helps"
    assert verdict(0.01, -0.5, None) == "hurts"
    assert verdict(0.5, 0.01, 0.001) == "no difference"
    assert verdict(0.5, 0.01, 0.5) == "open"


def test_packed_and_unpacked_are_inverse() -> None:
    for count in (1, 8, 13, 100):
        correct = np.random.default_rng(count).random(count) < 0.8
        assert np.array_equal(unpacked(packed(correct), count), correct)
