"""Every run of the two plans: its file, the program that computes it, and the reader of the file."""

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
    rates = (plan.learning_rate, plan.control.learning_rate)
    cells = [
        *((REPLICATES, part.learning_rate, part.seeds) for part in (plan, plan.control)),
        *((CONFIRMATION, rate, plan.confirmation.seeds) for rate in rates),
    ]
    runs = []
    for folder, rate, seeds in cells:
        confirm = ["--confirm"] if folder == CONFIRMATION else []
        for technique in plan.techniques:
            for seed in seeds:
                command = ["replication.replicate", technique, str(seed), str(rate), *confirm]
                runs.append(Run(path_of(technique, seed, rate, folder), command))
    longer = plan.confirmation.longer
    for seed in longer.seeds:
        command = ["replication.replicate", longer.technique, str(seed), str(longer.learning_rate)]
        command += ["--epochs", str(longer.epochs)]
        runs.append(Run(path_of(longer.technique, seed, longer.learning_rate, LONGER), command))
    for name, part in (("search", recipes.search), ("final", recipes.final)):
        for recipe in part.recipes:
            for seed in part.seeds:
                runs.append(
                    Run(of_recipes.path_of(name, recipe, seed), ["replication.recipe", name, recipe, str(seed)])
                )
    return runs


def read_result(path: Path) -> dict[str, Any]:
    """Return the content of the file of any run. Raises UserError if it is missing or invalid."""
    return READERS[path.parent.parent.name](path)
