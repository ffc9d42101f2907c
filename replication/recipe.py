"""Compute one run of a recipe: `python -m replication.recipe search augmented 40`.

-> metrics/recipes/search/augmented-40.json: a replicate without metrics of test images. `final` has them.
"""

from lenet5.support.process import set_up

set_up()

import argparse

from lenet5.support.params import DataSettings, Params, TrainSettings, load_params
from replication.recipes.plan import FILES, Recipes, load_recipes, path_of
from replication.replicate import compute, of_seed


def run_settings(params: Params, plan: Recipes, recipe: str, seed: int) -> tuple[TrainSettings, DataSettings]:
    """Return the settings of a run and of its data. Raises UserError for an unknown recipe or an invalid seed."""
    return of_seed(params, plan.settings(params, recipe).model_dump(), seed)


def main(part: str, recipe: str, seed: int) -> None:
    def parameters() -> tuple[TrainSettings, DataSettings]:
        return run_settings(load_params(), load_recipes(), recipe, seed)

    compute(recipe, path_of(part, recipe, seed), parameters, test=part == "final")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.recipe", description="Compute a run of a recipe.")
    parser.add_argument("part", choices=FILES)
    parser.add_argument("recipe", help="a name under `recipes` in replication/recipes.yaml")
    parser.add_argument("seed", type=int)
    main(**vars(parser.parse_args()))
