"""Analyse the recipes: metrics/recipes/{search,final} -> metrics/recipes.{json,md} and metrics/recipes/.

The figure of augmented images also needs the data set.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch, take_no_arguments

set_up()

from typing import Any

import matplotlib as mpl

from lenet5.preparation.sources import load_prepared
from lenet5.report.figures import STYLE, png
from lenet5.support.files import write_atomically, write_json
from lenet5.support.params import TrainSettings, load_params
from lenet5.support.paths import METRICS
from replication.analysis.comparison import OUTCOMES, Techniques, mean_with_interval
from replication.analysis.results import Outcome
from replication.analysis.statistics import describe
from replication.recipes import figures, tables
from replication.recipes.plan import PLAN, RECIPES, load_recipes, read_runs

ON_VALIDATION: dict[str, Outcome] = {
    "validation_accuracy": lambda run: 100 * run["validation_accuracy"],
    "validation_loss": lambda run: run["validation_loss"],
    "chosen_epoch": lambda run: run["chosen_epoch"],
}
ACCURACY = "validation_accuracy"
Settings = dict[str, TrainSettings]


def outcomes(runs: Techniques, of: dict[str, Outcome], settings: Settings) -> list[dict[str, Any]]:
    """Return one row for each recipe, with the statistics of its outcomes over the seeds."""
    rows = []
    for name, ours in runs.items():
        row: dict[str, Any] = {"recipe": name, "augmented": augmented(settings[name]), "failures": ours.failures}
        if len(ours.by_seed) > 1:
            row |= {outcome: describe(ours.values(value)) for outcome, value in of.items()}
        rows.append(row)
    return rows


def augmented(settings: TrainSettings) -> bool:
    return settings.augmentation != "none"


def against_chosen(runs: Techniques, chosen: list[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the difference of each recipe in validation accuracy, in points, from the chosen one that is augmented
    like it, seed by seed, with its 95 % interval."""
    reference_of = {augmented(settings[name]): name for name in chosen}
    compared = {}
    for name, ours in runs.items():
        reference = reference_of.get(augmented(settings[name]), name)
        seeds = [seed for seed in ours.by_seed if seed in runs[reference].by_seed]
        if reference == name or len(seeds) < 2:
            continue
        accuracies, theirs = (each.values(ON_VALIDATION[ACCURACY], seeds) for each in (ours, runs[reference]))
        compared[name] = {"reference": reference} | mean_with_interval(accuracies - theirs)
    return compared


def best(rows: list[dict[str, Any]]) -> list[str]:
    """Return the recipes with the highest mean validation accuracy, without and with augmentation."""
    found = []
    for kind in (False, True):
        of_kind = [row for row in rows if row["augmented"] == kind and ACCURACY in row]
        found += [max(of_kind, key=lambda row: row[ACCURACY]["mean"])["recipe"]] if of_kind else []
    return found


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_params(), load_recipes()), RECIPES / "search", RECIPES / "final")
    params, plan = inputs.parameters
    settings = {name: plan.settings(params, name) for name in plan.recipes}
    search, final = read_runs("search", plan.search), read_runs("final", plan.final)
    searched = outcomes(search, ON_VALIDATION, settings)
    compared = against_chosen(search, plan.final.recipes, settings)
    content: dict[str, list[Any]] = {
        "search": [row | {"against_chosen": compared.get(row["recipe"])} for row in searched],
        "best_on_validation": best(searched),
        "final": [
            row
            | {"parameters": next((run["parameters"] for run in final[row["recipe"]].by_seed.values()), None)}
            | {"settings": plan.recipes[row["recipe"]]}
            for row in outcomes(final, OUTCOMES | ON_VALIDATION, settings)
        ],
    }
    training = load_prepared(params.data).train
    with mpl.rc_context(STYLE):
        images = {
            "accuracy": png(figures.accuracy(search, final)),
            "augmentation": png(figures.augmentation(training.images)),
        }
    inputs.require_unchanged()
    write_json(METRICS / "recipes.json", content)
    write_atomically(METRICS / "recipes.md", tables.final(content["final"]).encode())
    write_atomically(RECIPES / "search.md", tables.search(content["search"]).encode())
    for name, image in images.items():
        write_atomically(RECIPES / f"{name}.png", image)
    print(f"Chosen in {PLAN}: {', '.join(plan.final.recipes)}.")
    print(f"Best on validation images: {', '.join(content['best_on_validation'])}.")


if __name__ == "__main__":
    take_no_arguments()
    main()
