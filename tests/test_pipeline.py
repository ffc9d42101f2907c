"""The pipeline through the real `dvc` command."""

import json
import os
import platform
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import ROOT
from tests.project import Project, yaml

TECHNIQUES = ("baseline", "batch_norm", "dropout", "weight_decay")
AFTER_TRAINING = {"summary", "plot"}


def test_the_pipeline_writes_every_result(computed_project: Project) -> None:
    root = computed_project.root
    for technique in TECHNIQUES:
        content = torch.load(root / f"models/{technique}.pt", weights_only=True)
        assert content["technique"] == technique
        curve = pd.read_csv(root / f"metrics/curves/{technique}.csv")
        assert curve["epoch"].tolist() == [1, 2, 3, 4, 5]
        metrics = json.loads((root / f"metrics/evaluation/{technique}.json").read_text())
        kept = curve.sort_values("validation_loss", kind="stable").iloc[0]
        assert metrics["chosen_epoch"] == kept["epoch"]
        for name in ("train_loss", "validation_loss", "test_loss", "test_accuracy"):
            assert metrics[name] == kept[name]
        low, high = metrics["test_accuracy_interval"]
        assert 0 < low < metrics["test_accuracy"] <= high <= 1
        predictions = pd.read_csv(root / f"metrics/predictions/{technique}.csv")
        assert (predictions["label"] == predictions["predicted"]).mean() == pytest.approx(metrics["test_accuracy"])
    rows = json.loads((root / "metrics/summary.json").read_text())["techniques"]
    assert [row["technique"] for row in rows] == list(TECHNIQUES)
    assert {path.name for path in (root / "metrics").glob("*.png")} == {
        "convergence.png", "test_accuracy.png", "confusion.png", "gallery.png"
    }  # fmt: skip


def test_tests_that_run_the_pipeline_are_marked(computed_project: Project, request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("pipeline"), f"`make check` would compute {computed_project.root}"


def test_a_second_run_computes_nothing(project: Project) -> None:
    before = project.read("dvc.lock")
    assert project.stages_run() == set()
    assert project.read("dvc.lock") == before


def test_changing_a_technique_retrains_only_that_technique(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.5))
    assert project.stages_run() == {"check", "train@dropout", "evaluate@dropout"} | AFTER_TRAINING


def test_an_added_technique_is_trained_alone_and_listed(project: Project) -> None:
    project.change_params(
        lambda params: params["techniques"].update(both={"batch_norm": True, "dropout": 0.3, "schedule": "cosine"})
    )
    assert project.stages_run() == {"check", "train@both", "evaluate@both"} | AFTER_TRAINING
    assert "both" in project.read("metrics/summary.csv").decode()
    assert "metrics/evaluation/both.json" in project.dvc("metrics", "show").stdout


def test_every_training_setting_can_be_overridden(project: Project) -> None:
    overrides = {
        "decoupled": {"optimizer": "adamw", "weight_decay": 0.01},
        "momentum": {"optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.1, "schedule": "cosine"},
        "smooth": {"label_smoothing": 0.1, "batch_size": 7, "epochs": 1, "seed": 5, "augmentation": "shift"},
    }
    project.change_params(lambda params: params["techniques"].update(overrides))
    assert {f"train@{name}" for name in overrides} <= project.stages_run()
    assert len(pd.read_csv(project.root / "metrics/curves/smooth.csv")) == 1


def test_changing_the_split_prepares_again_from_raw_files(project: Project) -> None:
    project.change_params(lambda params: params["data"].update(split_seed=1))
    assert "prepare" in project.stages_run("prepare")


def test_editing_a_module_reruns_only_stages_that_import_it(project: Project) -> None:
    module = project.root / "stages/plot.py"
    module.write_text(module.read_text() + "\n# changed\n")
    assert project.stages_run() == {"plot"}
    module = project.root / "lenet5/training/progress.py"
    module.write_text(module.read_text() + "\n# changed\n")
    # The models keep their bytes, so no later stage runs.
    assert project.stages_run() == {f"train@{technique}" for technique in TECHNIQUES}


def test_folder_locale_and_time_zone_do_not_change_results(project: Project) -> None:
    before = project.read("dvc.lock")
    shutil.rmtree(project.root / ".dvc/cache/runs")
    names = ("prepare", "train@dropout", "evaluate@dropout", "summary", "plot")
    repro = ("repro", "--force", "--single-item", *names)
    run = project.dvc(*repro, LC_ALL="C", TZ="Asia/Tokyo", OMP_NUM_THREADS="2", HOME=str(project.root))
    assert project.stages_in(run.stdout) == set(names)
    assert project.read("dvc.lock") == before


def test_cores_and_jobs_do_not_change_the_lock_file(project: Project) -> None:
    project.call_environment_ready()
    project.commit("results")
    before = project.files("*", "metrics/**/*", "models/*", ".git/*", ".checkpoints/*")
    printed = project.run("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), "make", "verify", "JOBS=3").stdout
    assert set(project.stages_in(printed)) == set(yaml.load(project.read("dvc.lock"))["stages"])
    assert re.search(r"All \d+ results are those of commit \w+, byte for byte\.\n$", printed), printed
    assert "different" not in printed and "computed from other files" not in printed
    (row,) = re.findall(r"row of this machine for docs/verified-on.md:\n(\|.*\|)\n", printed)
    (header,) = re.findall(r"^\| processor .*$", (ROOT / "docs/verified-on.md").read_text(), re.MULTILINE)
    assert row.count("|") == header.count("|") and "| equal |" in row
    assert project.files("*", "metrics/**/*", "models/*", ".git/*", ".checkpoints/*") == before


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("qemu-x86_64"),
    reason="needs an x86-64 processor and QEMU (Debian, Ubuntu: qemu-user) to emulate another",
)
def test_another_vendors_processor_gives_the_same_bytes(project: Project) -> None:
    """Emulate a processor of the other vendor, without AVX-512: PyTorch's libraries choose their kernels by both, and
    some ignore the settings that forbid it. Few images, since emulated arithmetic takes a hundred times as long."""
    project.change_params(lambda params: params["data"].update(subset=0.35))
    everything: dict[str, object] = {"batch_norm": True, "dropout": 0.2, "weight_decay": 0.001, "epochs": 2}
    everything["augmentation"] = "flip_shift_erase"
    project.change_params(lambda params: params["techniques"].update(everything=everything))
    project.dvc("repro", "evaluate@everything")
    results = ("models/everything.pt", "metrics/*/everything.*")
    expected = project.files(*results)
    assert len(expected) == 5
    for path in expected:
        (project.root / path).unlink()
    other = "Skylake-Client" if "AuthenticAMD" in Path("/proc/cpuinfo").read_text() else "EPYC-Milan"
    stages = "import sys; from stages import evaluate, train; train.main(sys.argv[1]); evaluate.main(sys.argv[1])"
    project.run("qemu-x86_64", "-cpu", other, sys.executable, "-c", stages, "everything")
    assert project.files(*results) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.dropout", 1.0, "train.dropout is 1.0, but must be less than 1"),
        ("train.epochs", -3, "train.epochs is -3, but must be greater than or equal to 1"),
        ("train.batch_size", 0, "train.batch_size is 0, but must be greater than or equal to 1"),
        ("data.validation_fraction", 1, "data.validation_fraction is 1, but must be less than 1"),
        ("techniques.dropout.dropuot", 0.2, "techniques.dropout.dropuot is an unknown key"),
        ("techniques.dropout.dropout", "a lot", "techniques.dropout.dropout is 'a lot', but must be a finite number"),
    ],
)
def test_a_mistake_in_params_changes_no_result(project: Project, key: str, value: object, message: str) -> None:
    results = ("models/*", "metrics/**/*", "data/prepared/*", "dvc.lock")
    before = project.files(*results)

    def change(params: dict[str, object]) -> None:
        *path, last = key.split(".")
        section = params
        for part in path:
            section = section[part]  # type: ignore[assignment]
        section[last] = value

    project.change_params(change)
    result = project.dvc("repro", check=False)
    assert result.returncode != 0
    assert f"params.yaml: {message}" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert project.files(*results) == before


def test_a_clone_with_autocrlf_has_the_same_bytes(project: Project, tmp_path: Path) -> None:
    project.commit("results")
    project.run("git", "clone", "--quiet", "--config", "core.autocrlf=true", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    for path in project.run("git", "ls-files").stdout.splitlines():
        assert clone.read(path) == project.read(path), path
    shutil.copytree(project.root / ".dvc/cache", clone.root / ".dvc/cache")
    clone.dvc("checkout")
    clone.dvc("status", "--quiet")
    assert clone.run("git", "status", "--porcelain").stdout == ""
