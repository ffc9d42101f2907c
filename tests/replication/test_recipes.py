"""The recipes: their plan, their runs on the small data set, and the analysis."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet5.support.params import load_params
from replication.analysis.comparison import OUTCOMES
from replication.analysis.results import Replicates
from replication.recipes import tables
from replication.recipes.analysis import ON_VALIDATION, against_chosen, best, outcomes
from replication.recipes.plan import FILES, load_recipes, read_recipe, read_runs
from tests.conftest import ROOT
from tests.documents import cells
from tests.project import RECIPES, Project, replace_test_images, yaml
from tests.replication.replicates import assert_mistake, replicate

RUNS = {"search/augmented-4", "search/augmented-5", "search/plain-4", "search/plain-5"}
RUNS |= {"final/augmented-6", "final/augmented-7"}


def run_of(project: Project, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(project.read(f"metrics/recipes/{name}.json"))
    return content


def test_the_search_and_the_chosen_recipes_are_computed(replicated_project: Project) -> None:
    root = replicated_project.root / "metrics/recipes"
    assert {str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*.json")} == RUNS
    result = json.loads(replicated_project.read("metrics/recipes.json"))
    searched = {row["recipe"]: row for row in result["search"]}
    for name, row in searched.items():
        values = [100 * run_of(replicated_project, f"search/{name}-{seed}")["validation_accuracy"] for seed in (4, 5)]
        assert row["validation_accuracy"]["mean"] == pytest.approx(np.mean(values))
    # Each is the only one of its kind: nothing to compare, and the best.
    assert [row["against_chosen"] for row in searched.values()] == [None, None]
    assert result["best_on_validation"] == ["plain", "augmented"]
    (final,) = result["final"]
    values = [100 * run_of(replicated_project, f"final/augmented-{seed}")["test_accuracy"] for seed in (6, 7)]
    assert final["test_accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert final["settings"] == RECIPES["recipes"]["augmented"]
    assert final["parameters"] == 61_706
    for table in ("metrics/recipes.md", "metrics/recipes/search.md"):
        assert "| augmented" in replicated_project.read(table).decode()
    assert {path.stem for path in root.glob("*.png")} == {"accuracy", "augmentation"}


def test_the_search_does_not_depend_on_the_test_images(replicated: Project) -> None:
    expected = replicated.read("metrics/recipes/search/augmented-4.json")
    assert not [key for key in json.loads(expected) if "test" in key]
    replace_test_images(replicated)
    replicated.run("python", "-m", "replication.recipe", "search", "augmented", "4")
    assert replicated.read("metrics/recipes/search/augmented-4.json") == expected
    before = replicated.read("metrics/recipes/final/augmented-6.json")
    replicated.run("python", "-m", "replication.recipe", "final", "augmented", "6")
    assert replicated.read("metrics/recipes/final/augmented-6.json") != before


def test_an_added_recipe_computes_only_its_runs(replicated: Project) -> None:
    before = replicated.files("metrics/recipes/*/*.json", "metrics/replicates/*/*.json")
    path = replicated.root / "replication/recipes.yaml"
    plan = yaml.load(path)
    plan["recipes"]["shifted"] = {"augmentation": "shift", "learning_rate": 0.003}
    plan["search"]["recipes"].append("shifted")
    yaml.dump(plan, path)
    assert "2 replicates to compute" in replicate(replicated)
    after = replicated.files("metrics/recipes/*/*.json", "metrics/replicates/*/*.json")
    assert {name: after[name] for name in before} == before
    assert sorted(after.keys() - before.keys()) == [f"metrics/recipes/search/shifted-{seed}.json" for seed in (4, 5)]
    rows = {row["recipe"]: row for row in json.loads(replicated.read("metrics/recipes.json"))["search"]}
    accuracies = [
        [100 * run_of(replicated, f"search/{name}-{seed}")["validation_accuracy"] for seed in (4, 5)]
        for name in ("shifted", "augmented")
    ]
    compared = rows["shifted"]["against_chosen"]
    assert compared["reference"] == "augmented"
    assert compared["difference"] == pytest.approx(np.mean(accuracies[0]) - np.mean(accuracies[1]))
    assert rows["plain"]["against_chosen"] is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dropout: 0.3", "dropuot: 0.3", "recipes.plain.dropuot is an unknown key"),
        ("dropout: 0.3", "seed: 3", "recipes.plain sets seed, which search and final set"),
        (
            "recipes: [",
            "recipes: [nosuch, ",
            "final.recipes has 'nosuch', which is not in search.recipes; add it there.",
        ),
        (
            "    - plain\n",
            "    - plane\n",
            "search.recipes has 'plane', which is not in recipes; add it there. Did you mean plain?",
        ),
        ("seeds: [50", "seeds: [40", "final.seeds has 40, which the search uses; choose another one."),
        ("seeds: [40, 41", "seeds: [40, 40", "search.seeds has a value twice; remove one."),
        ("\nrecipes:\n", "\nrecipes:\n  a b: {}\n", "recipes.'a b' is not a valid name"),
        ("\nfinal:", "\nfinals:", "finals is an unknown key; the known keys are: recipes, search, final."),
    ],
)
def test_a_mistake_in_the_recipes_is_reported(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert_mistake(load_recipes, "replication/recipes.yaml", (old, new), message, tmp_path)


def test_an_unknown_recipe_is_reported(replicated_project: Project) -> None:
    result = replicated_project.run("python", "-m", "replication.recipe", "search", "plane", "4", check=False)
    assert result.returncode == 1
    expected = (
        "'plane' is not a recipe in replication/recipes.yaml; choose one of: plain, augmented. Did you mean plain?"
    )
    assert result.stderr == f"{expected}\n"


def test_a_run_of_another_recipe_is_reported(replicated: Project) -> None:
    folder = replicated.root / "metrics/recipes/search"
    (folder / "plain-4.json").write_bytes((folder / "augmented-4.json").read_bytes())
    (folder / "plain-5.json").unlink()
    result = replicated.run("python", "-m", "replication.recipes", check=False)
    assert result.returncode == 1
    wrong, missing, remedy = result.stderr.splitlines()
    assert "plain-4.json is invalid: its content is that of metrics/recipes/search/augmented-4.json" in wrong
    assert missing.endswith("plain-5.json: No such file or directory (search@plain-5).")
    assert "Run `make replicate`" in remedy


def searched(**accuracies: list[float | None]) -> dict[str, Replicates]:
    """Return runs with seeds from 1 and these validation accuracies, or diverged ones."""
    return {
        name: Replicates([
            {"seed": seed, "failure": "diverged"}
            if value is None
            else {"seed": seed, "validation_accuracy": value, "validation_loss": 1 - value, "chosen_epoch": 10 * seed}
            for seed, value in enumerate(values, 1)
        ])
        for name, values in accuracies.items()
    }  # fmt: skip


def test_a_recipe_is_compared_with_the_chosen_one_of_its_kind() -> None:
    train = load_params(ROOT / "params.yaml").train
    flip = train.model_copy(update={"augmentation": "flip"})
    settings = {"few": train, "plain": train, "weak": train, "lost": train, "shared": flip, "flipped": flip}
    runs = searched(
        few=[0.99], plain=[0.90, 0.92, 0.94], weak=[0.89, 0.90, None], lost=[None] * 3, shared=[0.97, None, 0.92, 0.9],
        flipped=[0.95, 0.96, 0.94, None],
    )  # fmt: skip
    rows = outcomes(runs, ON_VALIDATION, settings)
    assert [(row["recipe"], row["augmented"], row["failures"]) for row in rows] == [
        ("few", False, 0), ("plain", False, 0), ("weak", False, 1), ("lost", False, 3), ("shared", True, 1),
        ("flipped", True, 1),
    ]  # fmt: skip
    assert [ON_VALIDATION.keys() & row.keys() == ON_VALIDATION.keys() for row in rows] == [
        False, True, True, False, True, True
    ]  # fmt: skip
    assert not ON_VALIDATION.keys() & (rows[0].keys() | rows[3].keys())
    assert [rows[1][name]["mean"] for name in ON_VALIDATION] == pytest.approx([92, 0.08, 20])
    assert best(rows) == ["plain", "flipped"] and best(rows[4:5]) == ["shared"] and best(rows[:1]) == []
    compared = against_chosen(runs, ["plain", "flipped"], settings)
    assert {name: result["reference"] for name, result in compared.items()} == {"weak": "plain", "shared": "flipped"}
    # Differences of -1 and -2 points, and of 2 and -2: Student's interval with one degree of freedom, 12.706 s / sqrt 2
    for name, mean, half in (("weak", -1.5, 12.706 * 0.5), ("shared", 0, 12.706 * 2)):
        assert compared[name]["difference"] == pytest.approx(mean)
        assert compared[name]["interval"] == pytest.approx([mean - half, mean + half], abs=1e-3)
    for row in rows:
        row["against_chosen"] = compared.get(row["recipe"])
    lines = cells(tables.search(rows[1:4]))
    assert lines[0] == [*tables.SEARCH]
    assert lines[2:] == [
        ["plain", "92.00", "90.00 to 94.00", "", "0.0800", "20"],
        ["weak", "89.50", "89.00 to 90.00", "-1.50 (-7.85 to +4.85)", "0.1050", "15"],
        ["lost", "3 diverged", "", "", "", ""],
    ]
    assert cells(tables.final(rows[3:4]))[-1] == ["lost", "", "3 diverged", *[""] * 5]


def test_the_committed_analysis_of_recipes_is_that_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params, plan = load_params(), load_recipes()
    settings = {name: plan.settings(params, name) for name in plan.recipes}
    result = json.loads((ROOT / "metrics/recipes.json").read_text())
    search, final = read_runs("search", plan.search), read_runs("final", plan.final)
    compared = against_chosen(search, plan.final.recipes, settings)
    rows = outcomes(search, ON_VALIDATION, settings)
    assert result["search"] == [row | {"against_chosen": compared.get(row["recipe"])} for row in rows]
    assert result["best_on_validation"] == best(rows)
    for row, committed in zip(outcomes(final, OUTCOMES | ON_VALIDATION, settings), result["final"], strict=True):
        assert committed == row | {key: committed[key] for key in ("parameters", "settings")}
    for name, table in (
        ("recipes.md", tables.final(result["final"])),
        ("recipes/search.md", tables.search(result["search"])),
    ):
        assert (ROOT / "metrics" / name).read_text() == table


def test_the_committed_recipes_were_chosen_by_the_search() -> None:
    result = json.loads((ROOT / "metrics/recipes.json").read_text())
    plan = load_recipes(ROOT / "replication/recipes.yaml")
    assert plan.final.recipes == result["best_on_validation"]
    train = load_params(ROOT / "params.yaml")
    assert {plan.settings(train, name).augmentation == "none" for name in plan.final.recipes} == {True, False}
    for part, of in (("search", plan.search), ("final", plan.final)):
        files = [ROOT / f"metrics/recipes/{part}/{name}-{seed}.json" for name in of.recipes for seed in of.seeds]
        assert sorted((ROOT / "metrics/recipes" / part).glob("*.json")) == sorted(files)
        for path in files:
            FILES[part].model_validate(read_recipe(path))
