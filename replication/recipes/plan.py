"""The plan of the recipes, and their runs: metrics/recipes/<part>/<recipe>-<seed>.json.

A recipe is a technique in a plan of its own, replication/recipes.yaml. The search compares recipes on the validation
images; the final part computes the chosen ones with other seeds, and evaluates them on the test images.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lenet5.support.errors import UserError
from lenet5.support.params import Params, TrainSettings, load_params, technique_mistakes
from lenet5.support.paths import METRICS
from lenet5.support.schema import Section, did_you_mean, read_yaml, shown, validated
from replication.analysis.plan import Seeds
from replication.analysis.results import REMEDY, Metrics, Replicates, Trained, read_run, read_seeds

RECIPES = METRICS / "recipes"
PLAN = Path("replication/recipes.yaml")
FILES: dict[str, type[Trained]] = {"search": Trained, "final": Metrics}  # what a run's file holds, by part


class Part(Section):
    recipes: Annotated[list[str], Field(min_length=1)]
    seeds: Seeds


class Recipes(Section):
    """The settings of each recipe that differ from `train` in params.yaml, what is searched, and what was chosen."""

    recipes: dict[str, dict[str, Any]]
    search: Part
    final: Part

    def settings(self, params: Params, name: str) -> TrainSettings:
        """Return the training settings of a recipe. Raises UserError for an unknown name."""
        if name not in self.recipes:
            known = ", ".join(self.recipes)
            raise UserError(
                f"{shown(name)} is not a recipe in {PLAN}; choose one of: {known}.{did_you_mean(name, self.recipes)}"
            )
        return TrainSettings.model_validate(params.train.model_dump() | self.recipes[name])


def load_recipes(path: Path = PLAN) -> Recipes:
    """Return the validated plan. Raises UserError with one line for each mistake."""
    plan = validated(Recipes, read_yaml(path), str(path))
    mistakes = technique_mistakes(load_params().train, plan.recipes, str(path), "recipes")
    mistakes += [
        f"{path}: recipes.{name} sets seed, which search and final set for each run; remove it."
        for name, overrides in plan.recipes.items()
        if "seed" in overrides
    ]
    for key, part, source, known in (
        ("search", plan.search, "recipes", list(plan.recipes)),
        ("final", plan.final, "search.recipes", plan.search.recipes),
    ):
        for name in part.recipes:
            if name not in known:
                unknown = f"{key}.recipes has {shown(name)}, which is not in {source}; add it there."
                mistakes.append(f"{path}: {unknown}{did_you_mean(name, known)}")
        for values, of in ((part.recipes, "recipes"), (part.seeds, "seeds")):
            if len(set(values)) < len(values):
                mistakes.append(f"{path}: {key}.{of} has a value twice; remove one.")
    if common := set(plan.search.seeds) & set(plan.final.seeds):
        mistakes.append(f"{path}: final.seeds has {min(common)}, which the search uses; choose another one.")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return plan


def path_of(part: str, name: str, seed: int) -> Path:
    """Return the path of a run's file. part: "search" or "final"."""
    return RECIPES / part / f"{name}-{seed}.json"


def read_recipe(path: Path) -> dict[str, Any]:
    """Return the content of a run's file. Raises UserError if it is missing, invalid or that of another run."""
    part = path.parent.name
    run, content = read_run(path, FILES[part])
    own = path_of(part, run.technique, run.seed)
    if path.name != own.name:
        raise UserError(f"{path} is invalid: its content is that of {own}")
    return content


def read_runs(part: str, plan: Part) -> dict[str, Replicates]:
    """Return the runs of each recipe of a part. Raises UserError with one line for each that is missing or invalid."""
    mistakes: list[str] = []
    runs = {}
    for name in plan.recipes:
        paths = {f"{part}@{name}-{seed}": path_of(part, name, seed) for seed in plan.seeds}
        runs[name] = read_seeds(paths, read_recipe, mistakes)
    if mistakes:
        raise UserError("\n".join([*mistakes, REMEDY]))
    return runs
