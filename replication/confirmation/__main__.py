"""Compare the confirmation with the ten seeds.

metrics/{confirmation,replicates} -> metrics/confirmation.{json,md,png}, metrics/replication/fresh_seeds.md

Nothing is compared before the last of the planned seeds is computed: docs/analysis-plan.md allows one look.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from typing import Any

from lenet5.support.files import write_atomically, write_json
from lenet5.support.paths import METRICS
from replication.analysis.comparison import across_rates, against_baseline, preferred_rates
from replication.analysis.figures import notice
from replication.analysis.plan import load_plan
from replication.analysis.results import CONFIRMATION, REPLICATES, Replicates, read_replicates
from replication.analysis.tables import overview
from replication.confirmation import figure, tables
from replication.confirmation.analysis import confirm, longer_training, rules_of_selection
from replication.confirmation.files import read_confirmation


def main() -> None:
    inputs = Inputs(load_plan, CONFIRMATION, REPLICATES)
    plan = inputs.parameters
    fresh, longer = read_confirmation(plan)
    content: dict[str, Any] = {"seeds": plan.confirmation.seeds, "planned": plan.confirmation.planned}
    text = plan.confirmation.progress("fresh seeds")
    short, picture = text, notice(text)
    if plan.confirmation.complete:
        margin = plan.equivalence_points
        ten_seeds = {rate: against_baseline(techniques, margin) for rate, techniques in read_replicates(plan).items()}
        content["results"] = confirm(fresh, ten_seeds, margin)
        content["preferred_by_validation"] = preferred_rates(fresh)
        content["across_rates"] = across_rates(fresh)
        content["rules_of_selection"] = rules_of_selection(fresh)
        part = plan.confirmation.longer
        usual = fresh[part.learning_rate][part.technique] if part.seeds else Replicates([])
        content["longer_training"] = part.model_dump() | {"result": longer_training(longer, usual)}
        parts = (
            tables.full(content["results"]),
            tables.rules(content["rules_of_selection"]),
            tables.longer(content["longer_training"]),
        )
        text, short = "\n".join(parts), overview(content["results"])
        picture = figure.draw(content["results"], ten_seeds, plan)
    inputs.require_unchanged()
    write_json(METRICS / "confirmation.json", content)
    write_atomically(METRICS / "confirmation.md", text.encode())
    write_atomically(METRICS / "confirmation.png", picture)
    write_atomically(METRICS / "replication/fresh_seeds.md", short.encode())
    print(text, end="")


if __name__ == "__main__":
    take_no_arguments()
    main()
