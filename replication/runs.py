"""Every run of params.yaml and recipes.yaml: its file, the program that computes it, and the reader of the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from replication.analysis.plan import Plan
from replication.analysis.results import CONFIRMATION, LONGER, REPLICATES, path_of, read_replicate
from replication.confirmation.files import read_confirmed
from replication.recipes import plan as of_recipes
from replication.recipes.plan import RECIPES, Recipes, read_recipe

READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    REPLICATES.name: read_replicate,
    CONFIRMATION.name: read_confirmed,
    LONGER.name: read_confirmed,
    RECIPES.name: read_recipe,
}


class Run(NamedTuple):
    """A replicate: its file, and the arguments of the program that computes it."""

    path: Path
    command: list[str]


def planned(plan: Plan, recipes: Recipes) -> list[Run]:
    """Return every replicate of the plans."""
    fresh, longer = plan.confirmation, plan.confirmation.longer
    return [
        *(
            _replicate(REPLICATES, technique, seed, part.learning_rate)
            for part in (plan, plan.control)
            for technique in plan.techniques
            for seed in part.seeds
        ),
        *(
            _replicate(CONFIRMATION, technique, seed, rate, "--confirm")
            for rate in (plan.learning_rate, plan.control.learning_rate)
            for technique in plan.techniques
            for seed in fresh.seeds
        ),
        *(
            _replicate(LONGER, longer.technique, seed, longer.learning_rate, "--epochs", str(longer.epochs))
            for seed in longer.seeds
        ),
        *(
            Run(of_recipes.path_of(name, recipe, seed), ["replication.recipe", name, recipe, str(seed)])
            for name, part in (("search", recipes.search), ("final", recipes.final))
            for recipe in part.recipes
            for seed in part.seeds
        ),
    ]


def _replicate(folder: Path, technique: str, seed: int, rate: float, *options: str) -> Run:
    command = ["replication.replicate", technique, str(seed), str(rate), *options]
    return Run(path_of(technique, seed, rate, folder), command)


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of the file of any run. Raises UserError if it is missing or invalid."""
    return READERS[path.parent.parent.name](path)
