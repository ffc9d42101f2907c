"""Write the schemas with which editors check the plans of the replication: `make sync`.

As commands/schema.py. Only the checker reports a technique or recipe that is not defined, a value that is listed twice,
a learning rate without a decimal point, a plan without the baseline, a control with the same learning rate, fresh seeds
that are not new or more than planned, longer runs of other cells, recipes with a seed, and final recipes or seeds that
do not fit the search; and of a tuning plan, settings with a learning rate, schedule or seed, names under `choices` that
are not valid, settings that are not in exactly one of its lists, seeds that an earlier part uses, and final seeds
that are more than planned or without those of `refine`.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

from commands.schema import schema_of, with_techniques
from lenet5.support.files import write_json
from replication.analysis.plan import PLAN, Plan
from replication.recipes.plan import PLAN as RECIPES_PLAN
from replication.recipes.plan import Recipes
from replication.tuning.plan import PLAN as TUNING_PLAN
from replication.tuning.plan import Tuning


def main() -> None:
    write_json(PLAN.with_suffix(".schema.json"), schema_of(Plan))
    write_json(RECIPES_PLAN.with_suffix(".schema.json"), with_techniques(schema_of(Recipes), "recipes"))
    write_json(TUNING_PLAN.with_suffix(".schema.json"), with_techniques(schema_of(Tuning), "settings"))


if __name__ == "__main__":
    take_no_arguments()
    main()
