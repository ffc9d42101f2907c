"""Analyse the replicates: metrics/replicates -> metrics/replication.{json,csv,md} and metrics/replication/.

The plan of the analysis, and what has changed since, is docs/analysis-plan.md.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from typing import Any

import pandas as pd

from lenet5.support.files import write_atomically, write_json
from lenet5.support.params import ReportedAccuracies, load_params
from lenet5.support.paths import METRICS
from replication.analysis import figures, tables
from replication.analysis.comparison import (
    OUTCOMES,
    PRIMARY,
    Techniques,
    across_rates,
    against_baseline,
    baseline_first,
    described,
    new_images_intervals,
    preferred_rates,
    training_images,
    without_seed,
)
from replication.analysis.exercise import compare_with_exercise, what_is_counted
from replication.analysis.plan import Plan, load_plan
from replication.analysis.results import REPLICATES, read_replicates
from replication.analysis.statistics import power

FOLDER = METRICS / "replication"
# Its four results at the exercise's learning rate were in git before the plan.
KNOWN_SEED = 0


def analyse(
    replicates: dict[float, Techniques], plan: Plan, exercise: dict[str, ReportedAccuracies]
) -> list[dict[str, Any]]:
    """Return one row for each technique at each learning rate."""
    rows = []
    counted = what_is_counted(exercise)
    for rate, techniques in replicates.items():
        compared = against_baseline(techniques, plan.equivalence_points)
        for technique, interval in new_images_intervals(techniques).items():
            compared[technique]["interval_new_images"] = interval
        images = training_images(techniques)
        for technique, ours in techniques.items():
            row: dict[str, Any] = {"learning_rate": rate, "technique": technique} | described(ours, OUTCOMES)
            if PRIMARY in row and technique in exercise:
                row["exercise"] = compare_with_exercise(ours, exercise[technique], counted, images)
            rows.append(row | {"against_baseline": compared.get(technique)})
    return rows


def power_of_confirmation(rows: list[dict[str, Any]], plan: Plan) -> dict[str, dict[str, float]]:
    """Return the power of the planned fresh seeds, by learning rate and technique, if the effects in the rows are the
    true ones. Left out are differences without spread, which have no effect size."""
    compared = [row for row in rows if row["against_baseline"]]
    powers: dict[str, dict[str, float]] = {str(row["learning_rate"]): {} for row in rows}
    family = len(powers) * (len(plan.techniques) - 1)
    for row in compared:
        if (effect := row["against_baseline"]["effect_size"]) is not None:
            of_rate = powers[str(row["learning_rate"])]
            of_rate[row["technique"]] = power(effect, plan.confirmation.planned, family)
    return powers


def beyond_rows(
    replicates: dict[float, Techniques],
    plan: Plan,
    exercise: dict[str, ReportedAccuracies],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the results that concern several rows, and the exploratory ones."""
    hurt: dict[float, list[str]] = {rate: [] for rate in replicates}
    for row in rows:
        if row["against_baseline"] and row["against_baseline"]["verdict"] == "hurts":
            hurt[row["learning_rate"]].append(row["technique"])
    return {
        "power_of_confirmation": power_of_confirmation(rows, plan),
        "exercise_counts": what_is_counted(exercise),
        "preferred_by_validation": preferred_rates(replicates),
        "across_rates": across_rates(replicates),
        "share_baseline_first_of_those_that_hurt": {
            str(rate): baseline_first(replicates[rate], names) for rate, names in hurt.items()
        },
        f"verdicts_without_seed_{KNOWN_SEED}": {
            str(rate): {
                technique: compared["verdict"]
                for technique, compared in against_baseline(
                    without_seed(KNOWN_SEED, techniques), plan.equivalence_points
                ).items()
            }
            for rate, techniques in replicates.items()
        },
    }


def main() -> None:
    inputs = Inputs(lambda: (load_plan(), load_params().exercise), REPLICATES)
    plan, exercise = inputs.parameters
    replicates = read_replicates(plan)
    rows = analyse(replicates, plan, exercise)
    content = {
        "plan": plan.model_dump(exclude={"confirmation"}),
        **beyond_rows(replicates, plan, exercise, rows),
        "results": rows,
    }
    images = figures.draw(replicates, rows, plan)
    csv = pd.DataFrame([dict(tables.flat(row)) for row in rows]).to_csv(
        index=False, lineterminator="\n", float_format="%.6g"
    )
    inputs.require_unchanged()
    write_json(METRICS / "replication.json", content)
    write_atomically(METRICS / "replication.csv", csv.encode())
    write_atomically(METRICS / "replication.md", tables.full(rows).encode())
    write_atomically(FOLDER / "overview.md", tables.overview(rows).encode())
    write_atomically(FOLDER / "exercise.md", tables.exercise(rows).encode())
    for name, png in images.items():
        write_atomically(FOLDER / f"{name}.png", png)
    print(tables.full(rows))


if __name__ == "__main__":
    take_no_arguments()
    main()
