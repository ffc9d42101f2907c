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
from lenet5.support.params import load_params
from lenet5.support.paths import METRICS
from replication.analysis.comparison import OUTCOMES
from replication.recipes import figures, tables
from replication.recipes.analysis import ON_VALIDATION, against_chosen, best, outcomes
from replication.recipes.plan import PLAN, RECIPES, load_recipes, read_runs


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
