"""The tuned techniques: their plan, and their runs on the small data set through `make tune`."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from replication.run import compute
from replication.tuning.plan import Cell
from replication.tuning.run import PIPELINE
from tests.project import TUNING, Command, Project, replace_test_images, yaml

CHOICES: dict[str, list[str]] = TUNING["choices"]
REFINED, FINAL = "metrics/tuning/refine/dropout.json", "metrics/tuning/final/7/dropout.json"


@pytest.fixture
def tuned(tuned_project: Project, tmp_path: Path) -> Project:
    return tuned_project.copy(tmp_path / "tuned")


def content(project: Project, path: str) -> Any:
    return json.loads(project.read(path))


def cell_of(values: dict[str, Any]) -> Cell:
    return Cell(values["setting"], values["learning_rate"], values["schedule"])


def to_compute(project: Project) -> list[int]:
    """Bring the tuning up to date, and return how many files of each stage that computed."""
    printed = project.run("make", "--old-file=.venv/ready", "tune").stdout
    return [int(count) for count in re.findall(r"(\d+) files of the stage \w+ to compute", printed)]


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
        for seed in (6, 7):
            (run,) = content(tuned_project, f"metrics/tuning/final/{seed}/{technique}.json")
            assert (cell_of(run), run["seed"]) == (chosen, seed)


def test_the_tuned_techniques_are_compared_by_seed(tuned_project: Project) -> None:
    result = content(tuned_project, "metrics/tuning.json")
    baseline, dropout = (
        np.array([
            100 * content(tuned_project, f"metrics/tuning/final/{seed}/{name}.json")[0]["test_accuracy"]
            for seed in (6, 7)
        ])
        for name in ("baseline", "dropout")
    )  # fmt: skip
    rows = {row["technique"]: row for row in result["final"]}
    assert rows["dropout"]["test_accuracy"]["mean"] == pytest.approx(dropout.mean())
    assert rows["dropout"]["against_baseline"]["difference"] == pytest.approx((dropout - baseline).mean())
    assert rows["baseline"]["against_baseline"] is None
    chosen = [cell_of(row) for row in result["search"] if row["chosen"]]
    assert chosen == [cell_of(row["cell"]) for row in result["final"]]
    for table in ("metrics/tuning.md", "metrics/tuning/search.md"):
        assert "| dropout" in tuned_project.read(table).decode()
    assert {path.stem for path in tuned_project.root.glob("metrics/tuning/*.png")} == {"accuracy", "search"}


def test_nothing_is_chosen_before_it_is_refined(tuned: Project) -> None:
    change(tuned, refine={"cells": 2, "seeds": []}, final={"planned": 2, "seeds": []})
    assert to_compute(tuned) == [0, 2, 0]
    assert content(tuned, "metrics/tuning/choice.json") == {"baseline": [], "dropout": []}
    assert (
        tuned.read("metrics/tuning.md") == b"0 of 2 seeds are computed. Nothing is compared before all of them are.\n"
    )
    assert b"| yes" not in tuned.read("metrics/tuning/search.md")


def test_the_choice_does_not_depend_on_the_test_images(tuned: Project) -> None:
    before = tuned.files(REFINED, FINAL)
    replace_test_images(tuned)
    for arguments in (("refine", "dropout"), ("final", "dropout", "7")):
        tuned.run("python", "-m", "replication.tuning.compute", *arguments)
    after = tuned.files(REFINED, FINAL)
    assert after[REFINED] == before[REFINED] and b"test" not in before[REFINED]
    assert after[FINAL] != before[FINAL]


def test_runs_on_the_validation_images_log_them_as_such(tuned_project: Project) -> None:
    final = [log for log in tuned_project.root.glob("logs/tuning-*.log") if re.search(r"-[67]\.log", log.name)]
    others = set(tuned_project.root.glob("logs/tuning-*.log")) - set(final)
    assert final and all("test accuracy" in log.read_text() for log in final)
    assert others and not any("test accuracy" in log.read_text() for log in others)
    assert all("validation accuracy" in log.read_text() for log in others)


def test_candidates_outside_the_tuning_plan_are_reported(tuned: Project) -> None:
    best = content(tuned, "metrics/tuning/candidates.json")["dropout"][0]["setting"]
    path = tuned.root / "metrics/tuning/candidates.json"

    def reported(message: str) -> bool:
        programs = (("analysis",), ("choose", "choice"), ("compute", "refine", "dropout"))
        results = [
            tuned.run("python", "-m", f"replication.tuning.{name}", *rest, check=False) for name, *rest in programs
        ]
        expected = (1, f"metrics/tuning/candidates.json {message}\n")
        return [(result.returncode, result.stderr) for result in results] == [expected] * 3

    change(
        tuned,
        choices={"baseline": ["baseline", best], "dropout": [each for each in CHOICES["dropout"] if each != best]},
    )
    assert reported(f"has {best} for dropout, which the plan lacks. Run `make tune` to write it again.")
    path.unlink()
    assert reported("is missing. Run `make tune`, which writes it.")


def test_a_clone_of_tuned_techniques_is_up_to_date(tuned_project: Project, tmp_path: Path) -> None:
    tuned_project.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    shutil.copytree(tuned_project.root / "data/raw", clone.root / "data/raw", dirs_exist_ok=True)
    assert to_compute(clone) == [0, 0, 0]
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_an_added_learning_rate_computes_only_its_cells(tuned: Project) -> None:
    before = tuned.files("metrics/tuning/search/**/*.json")
    change(tuned, learning_rates=[0.003, 0.01, 1e-9], schedules=["constant", "cosine"])
    # One file for each setting; so low a rate is never among the best, so that nothing else is computed again.
    assert to_compute(tuned) == [3, 0, 0]
    after = tuned.files("metrics/tuning/search/**/*.json")
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 3


def test_a_changed_setting_outdates_its_own_cells(tuned: Project) -> None:
    settings = TUNING["settings"] | {"dropout_50": {"dropout": 0.6}}
    change(tuned, settings=settings)
    tuned.dvc("--cd", "replication/tuning", "repro", "fingerprint")
    outdated = json.loads(tuned.dvc("--cd", "replication/tuning", "status", "--json", "search").stdout)
    assert set(outdated) == {"search@dropout_50-0.003", "search@dropout_50-0.01"}


def test_an_added_seed_computes_only_its_own_runs(tuned: Project) -> None:
    before = tuned.files("metrics/tuning/final/**/*.json")
    change(tuned, final={"planned": 4, "seeds": [6, 7, 8]})
    assert to_compute(tuned) == [0, 0, 2]
    after = tuned.files("metrics/tuning/final/**/*.json")
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2
    # The test images are looked at once.
    assert content(tuned, "metrics/tuning.json")["final"] == []
    assert (
        tuned.read("metrics/tuning.md") == b"3 of 4 seeds are computed. Nothing is compared before all of them are.\n"
    )


def test_a_killed_stage_resumes_after_its_complete_runs(tuned: Project) -> None:
    expected = tuned.read(REFINED)
    first, second = ("-".join(map(str, (*cell_of(run), run["seed"]))) for run in json.loads(expected)[:2])
    (tuned.root / REFINED).unlink()
    command = ("python", "-m", "replication.tuning.compute", "refine", "dropout")
    killed = Command(tuned, *command)
    while not re.search(rf"{re.escape(second)}: epoch 2/5", killed.printed()):
        assert killed.running(), killed.printed()
        time.sleep(0.01)
    killed.kill()
    assert not (tuned.root / REFINED).exists()
    printed = tuned.run(*command).stdout
    assert f"{first}: resumed after epoch 5/5" in printed
    assert re.search(rf"{re.escape(second)}: resumed after epoch [2-5]/5", printed)
    assert tuned.read(REFINED) == expected
    assert not list(tuned.root.glob(".checkpoints/tuning-*/*.pt"))


def test_the_progress_of_a_stage_ends_at_one(tuned: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned.root)
    for name, value in tuned.quick_environment().items():
        monkeypatch.setenv(name, value)
    (tuned.root / FINAL).unlink()
    for expected in (r"final@dropout-7: test accuracy .* %", "final@dropout-7: from the cache"):
        bar = tqdm(total=1, disable=True)
        steps: list[float] = []
        monkeypatch.setattr(bar, "update", steps.append)
        assert re.fullmatch(expected, compute("final@dropout-7", PIPELINE, bar))
        assert sum(steps) == pytest.approx(1) and min(steps) >= 0
        assert len(steps) >= 5 or "cache" in expected


def test_files_with_other_runs_than_planned_are_reported(tuned: Project) -> None:
    (tuned.root / FINAL).write_text("[]")
    (tuned.root / REFINED).unlink()
    (tuned.root / "metrics/tuning/search/0.01/baseline.json").write_text("[{}]")
    mistakes = [
        "metrics/tuning/search/0.01/baseline.json is invalid: setting: Field required (search@baseline-0.01).",
        f"{REFINED}: No such file or directory (refine@dropout).",
        f"{FINAL} is invalid: its runs are not those that are planned for it (final@dropout-7).",
    ]
    # Each program names every file of those that it reads.
    for count, program in enumerate(("choose candidates", "choose choice", "analysis"), start=1):
        module, *arguments = program.split()
        result = tuned.run("python", "-m", f"replication.tuning.{module}", *arguments, check=False)
        assert result.returncode == 1
        assert result.stderr.splitlines() == [*mistakes[:count], "Run `make tune` to compute them again."]
    shutil.copy(tuned.root / "metrics/tuning/search/0.003/baseline.json", tuned.root / "metrics/tuning/search/0.01")
    result = tuned.run("python", "-m", "replication.tuning.choose", "candidates", check=False)
    assert "0.01/baseline.json is invalid: its runs are not those that are planned for it" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("search dropout_21 0.01", r"'dropout_21' is not in settings of .*: .*\. Did you mean dropout_20\?"),
        ("search dropout_20 0.5", r"0\.5 is not in learning_rates of .*: 0\.003, 0\.01\."),
        ("final dropout 9", r"9 is not in final\.seeds of .*; choose from: 6, 7\."),
        ("refine dropuot", r"'dropuot' is not in choices of .*: baseline, dropout\. Did you mean dropout\?"),
    ],
)
def test_a_run_outside_the_tuning_plan_is_reported(arguments: str, message: str, tuned_project: Project) -> None:
    command = ("python", "-m", "replication.tuning.compute", *arguments.split())
    result = tuned_project.run(*command, check=False)
    assert result.returncode == 1 and re.fullmatch(message + "\n", result.stderr), result.stderr


def test_a_technique_without_chosen_cells_is_reported(tuned: Project) -> None:
    change(tuned, settings=TUNING["settings"] | {"flip": {}}, choices=CHOICES | {"augmentation": ["flip"]})
    result = tuned.run("python", "-m", "replication.tuning.compute", "refine", "augmentation", check=False)
    expected = "metrics/tuning/candidates.json has no cells of augmentation. Run `make tune`, which chooses them.\n"
    assert (result.returncode, result.stderr) == (1, expected)
