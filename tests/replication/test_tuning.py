"""The tuned techniques: their plan, and their runs on the small data set through `make tune`."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet5.support.errors import UserError
from replication.tuning.analysis.comparison import at_edge, compared
from replication.tuning.choose import ranked
from replication.tuning.plan import Cell, load_tuning
from tests.conftest import ROOT
from tests.project import TUNING, Command, Project, yaml

CHOICES: dict[str, list[str]] = TUNING["choices"]
FINAL = "metrics/tuning/final/dropout.json"


@pytest.fixture
def tuned(tuned_project: Project, tmp_path: Path) -> Project:
    return tuned_project.copy(tmp_path / "tuned")


def content(project: Project, path: str) -> Any:
    return json.loads(project.read(path))


def cell_of(values: dict[str, Any]) -> Cell:
    return Cell(values.get("setting") or values["technique"], values["learning_rate"], values["schedule"])


def tune(project: Project) -> str:
    return project.run("python", "-m", "replication.tuning.run").stdout


def change(project: Project, **changes: Any) -> None:
    yaml.dump(TUNING | changes, project.root / "replication/tuning/params.yaml")


def losses(project: Project, *stages: str) -> dict[Cell, float]:
    """Return the mean validation loss of each cell over the runs of the stages."""
    of_cells: dict[Cell, list[float]] = {}
    for path in (path for stage in stages for path in sorted(project.root.glob(f"metrics/tuning/{stage}/**/*.json"))):
        for run in json.loads(path.read_bytes()):
            of_cells.setdefault(cell_of(run), []).append(run["validation_loss"])
    return {cell: float(np.mean(values)) for cell, values in of_cells.items()}


def test_the_lowest_validation_loss_chooses_what_is_tested(tuned_project: Project) -> None:
    searched = losses(tuned_project, "search")
    assert len(searched) == len(TUNING["settings"]) * 2 * 2
    candidates, choice = (content(tuned_project, f"metrics/tuning/{name}.json") for name in ("candidates", "choice"))
    refined = losses(tuned_project, "search", "refine")
    for technique, settings in CHOICES.items():
        best = sorted((cell for cell in searched if cell.setting in settings), key=searched.__getitem__)[:2]
        assert list(map(cell_of, candidates[technique])) == best
        (chosen,) = map(cell_of, choice[technique])
        assert chosen == min(best, key=refined.__getitem__)
        runs = content(tuned_project, f"metrics/tuning/final/{technique}.json")
        assert [(cell_of(run), run["seed"]) for run in runs] == [(chosen, 6), (chosen, 7)]


def test_the_tuned_techniques_are_compared_by_seed(tuned_project: Project) -> None:
    result = content(tuned_project, "metrics/tuning.json")
    baseline, dropout = (
        np.array([100 * run["test_accuracy"] for run in content(tuned_project, f"metrics/tuning/final/{name}.json")])
        for name in ("baseline", "dropout")
    )
    rows = {row["technique"]: row for row in result["final"]}
    assert rows["dropout"]["test_accuracy"]["mean"] == pytest.approx(dropout.mean())
    assert rows["dropout"]["against_baseline"]["difference"] == pytest.approx((dropout - baseline).mean())
    assert rows["baseline"]["against_baseline"] is None
    chosen = [cell_of(row) for row in result["search"] if row["chosen"]]
    assert chosen == [cell_of(row["cell"]) for row in result["final"]]
    for table in ("metrics/tuning.md", "metrics/tuning/search.md"):
        assert "| dropout" in tuned_project.read(table).decode()
    assert {path.stem for path in tuned_project.root.glob("metrics/tuning/*.png")} == {"accuracy", "search"}


def test_choosing_a_cell_opens_no_test_image(tuned_project: Project) -> None:
    for stage in ("search", "refine"):
        for path in tuned_project.root.glob(f"metrics/tuning/{stage}/**/*.json"):
            assert not [key for run in json.loads(path.read_bytes()) for key in run if "test" in key], path
    assert "test_accuracy" in content(tuned_project, FINAL)[0]


def test_a_clone_of_tuned_techniques_is_up_to_date(tuned_project: Project, tmp_path: Path) -> None:
    tuned_project.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    shutil.copytree(tuned_project.root / "data/raw", clone.root / "data/raw", dirs_exist_ok=True)
    assert tune(clone).count("0 replicates to compute") == 3
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_an_added_learning_rate_computes_only_its_cells(tuned: Project) -> None:
    before = tuned.files("metrics/tuning/search/**/*.json")
    change(tuned, learning_rates=[0.003, 0.01, 1e-9], schedules=["constant", "cosine"])
    # One file for each setting; so low a rate is never among the best, so that nothing else is computed again.
    assert re.findall(r"(\d+) replicates to compute", tune(tuned)) == ["3", "0", "0"]
    after = tuned.files("metrics/tuning/search/**/*.json")
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 3


def test_a_changed_setting_outdates_its_own_cells(tuned: Project) -> None:
    settings = TUNING["settings"] | {"dropout_50": {"dropout": 0.6}}
    change(tuned, settings=settings)
    tuned.dvc("--cd", "replication/tuning", "repro", "fingerprint")
    outdated = json.loads(tuned.dvc("--cd", "replication/tuning", "status", "--json", "search").stdout)
    assert set(outdated) == {"search@dropout_50-0.003", "search@dropout_50-0.01"}


def test_a_killed_stage_resumes_after_its_complete_runs(tuned: Project) -> None:
    expected = tuned.read(FINAL)
    (tuned.root / FINAL).unlink()
    command = ("python", "-m", "replication.tuning.compute", "final", "dropout")
    killed = Command(tuned, *command)
    while "-7: epoch 2/5" not in killed.printed():
        assert killed.running(), killed.printed()
        time.sleep(0.01)
    killed.kill()
    assert not (tuned.root / FINAL).exists()
    printed = tuned.run(*command).stdout
    assert "-6: resumed after epoch 5/5" in printed
    assert re.search(r"-7: resumed after epoch [234]/5", printed)
    assert tuned.read(FINAL) == expected
    assert not list(tuned.root.glob(".checkpoints/tuning-*/*.pt"))


def test_files_with_other_runs_than_planned_are_reported(tuned: Project) -> None:
    path = tuned.root / FINAL
    path.write_text(json.dumps(content(tuned, FINAL)[::-1]))
    (tuned.root / "metrics/tuning/refine/dropout.json").unlink()
    (tuned.root / "metrics/tuning/search/0.01/baseline.json").write_text("[{}]")
    messages = []
    for program in ("choose candidates", "choose choice", "analysis"):
        module, *arguments = program.split()
        result = tuned.run("python", "-m", f"replication.tuning.{module}", *arguments, check=False)
        assert result.returncode == 1
        messages.append(result.stderr)
    assert "0.01/baseline.json is invalid: technique: Field required (search@baseline-0.01)." in messages[0]
    assert messages[0] == messages[1] == messages[2]
    shutil.copy(tuned.root / "metrics/tuning/search/0.003/baseline.json", tuned.root / "metrics/tuning/search/0.01")
    result = tuned.run("python", "-m", "replication.tuning.choose", "candidates", check=False)
    assert "0.01/baseline.json is invalid: its runs are not those that are planned for it" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dropout: 0.3", "dropuot: 0.3", "settings.dropout_30.dropuot is an unknown key"),
        ("  baseline: [baseline]\n", "", "choices has no baseline, with which every technique is compared; add it."),
        ("[dropout_10", "[dropout_1", "choices has 'dropout_1', which is not in settings; add it there."),
        ("[dropout_10", "[dropout_20", "choices has dropout_10 0 times; it must be there once."),
        ("schedules: [constant", "schedules: [cosine", "schedules has a value twice; remove one."),
        ("learning_rates: [", "learning_rates: [1, ", "it needs a decimal point; write 1.0 instead of 1"),
        ("cells: 3\n  seeds: [", "cells: 3\n  seeds: [43, ", "refine.seeds has 43, which an earlier part uses"),
        ("\nfinal:", "\nfinals:", "finals is an unknown key"),
    ],
)
def test_a_mistake_in_the_tuning_plan_is_reported(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "replication/tuning/params.yaml").read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=re.escape(f"{path}: ")) as error:
        load_tuning(path)
    assert message in str(error.value)


@pytest.mark.parametrize(("stage", "name"), [("search", "dropout_21"), ("final", "dropuot")])
def test_an_unknown_name_of_a_tuned_run_is_reported(stage: str, name: str, tuned_project: Project) -> None:
    rate = ["0.01"] if stage == "search" else []
    result = tuned_project.run("python", "-m", "replication.tuning.compute", stage, name, *rate, check=False)
    assert result.returncode == 1
    assert re.fullmatch(rf"'{name}' is not in \w+ of \S+; choose from: .*\. Did you mean dropout\w*\?\n", result.stderr)


def test_a_technique_without_chosen_cells_is_reported(tuned: Project) -> None:
    change(tuned, settings=TUNING["settings"] | {"flip": {}}, choices=CHOICES | {"augmentation": ["flip"]})
    result = tuned.run("python", "-m", "replication.tuning.compute", "refine", "augmentation", check=False)
    expected = "metrics/tuning/candidates.json has no cells of augmentation. Run `make tune`, which chooses them.\n"
    assert (result.returncode, result.stderr) == (1, expected)


def run_of(cell: Cell, seed: int, loss: float | None) -> dict[str, Any]:
    content = {"technique": cell.setting, "learning_rate": cell.learning_rate, "schedule": cell.schedule, "seed": seed}
    return content | ({"failure": "diverged"} if loss is None else {"validation_loss": loss})


def test_a_cell_with_a_diverged_run_is_not_chosen() -> None:
    first, second, third, missing = (Cell("flip", rate, "cosine") for rate in (0.1, 0.2, 0.3, 0.4))
    runs = [run_of(first, 1, 0.1), run_of(first, 2, None), run_of(second, 1, 0.9), run_of(second, 2, 0.3)]
    runs += [run_of(third, 1, 0.5), run_of(third, 2, 0.5)]
    assert ranked([first, second, third, missing], runs) == [third, second]


def test_a_best_cell_at_an_end_of_the_grid_is_reported() -> None:
    plan = load_tuning(ROOT / "replication/tuning/params.yaml").model_copy(update={"learning_rates": [0.01, 0.1, 0.03]})
    candidates = {
        "baseline": [Cell("baseline", 0.1, "cosine"), Cell("baseline", 0.03, "cosine")],
        "dropout": [Cell("dropout_50", 0.03, "cosine")],
        "label_smoothing": [Cell("smoothing_10", 0.03, "cosine")],
        "weight_decay": [Cell("coupled_1e-5", 0.01, "constant")],
        "batch_norm": [],
    }
    edges = {name: ends for name, ends in at_edge(plan, candidates).items() if ends}
    expected = {"baseline": ["learning_rate"], "dropout": ["setting"], "weight_decay": ["learning_rate", "setting"]}
    assert edges == expected


def test_a_technique_that_diverged_counts_in_the_correction() -> None:
    content = json.loads((ROOT / "metrics/recipes/final/plain-50.json").read_text())
    runs = {name: [content | {"seed": seed} for seed in range(4)] for name in ("baseline", "dropout")}
    runs["flip"] = [{"seed": seed, "failure": "diverged"} for seed in range(4)]
    for place, run in enumerate(runs["dropout"]):
        run["test_accuracy"] += 0.01 + 0.001 * place
    rows = {row["technique"]: row for row in compared(runs, {name: [] for name in runs}, 0.2)}
    difference = rows["dropout"]["against_baseline"]
    assert difference["sign_flip_p_holm"] == pytest.approx(2 * difference["sign_flip_p"])
    assert (rows["flip"]["failures"], rows["flip"]["against_baseline"]) == (4, None)


def test_the_committed_tuning_keeps_to_the_plan() -> None:
    plan = load_tuning(ROOT / "replication/tuning/params.yaml")
    assert len(plan.settings) >= 22
    assert set(plan.learning_rates) <= {0.0003, 0.001, 0.003, 0.01, 0.0001, 0.03}
    assert (plan.search.seeds, plan.refine.cells) == ([43], 3)
    assert plan.refine.seeds in ([], [44, 45])
    assert plan.final.seeds in ([], list(range(60, 80)))
    # Nothing is chosen from a part of the grid, or before it is refined.
    assert not plan.refine.seeds or {0.0003, 0.001, 0.003, 0.01} <= set(plan.learning_rates)
    assert not plan.final.seeds or plan.refine.seeds
