"""Each technique at its best: what was searched, what was chosen, and how that compares on the test images.

docs/analysis-plan.md is the plan of this analysis.
"""

from typing import Any

from replication.analysis.comparison import OUTCOMES, described, differences, judge
from replication.analysis.results import Replicates
from replication.tuning.files import Runs, cell_of, mean_loss
from replication.tuning.plan import Cell, Tuning

Row = dict[str, Any]
Cells = dict[str, list[Cell]]


def searched(plan: Tuning, runs: Runs, candidates: Cells, chosen: Cells) -> list[Row]:
    """Return one row for each cell: its mean validation loss in nats over the seeds of `search`, and over these and
    those of `refine`, and whether it was a candidate and was chosen. A cell of which a run diverged has no loss.

    runs: of both stages. Only losses of the same seeds are comparable, since a seed also draws the validation images.
    """
    rows = []
    for technique, settings in plan.choices.items():
        for cell in plan.cells(settings):
            of_cell = [run for run in runs if cell_of(run) == cell]
            row: Row = {"technique": technique, **cell._asdict(), "runs": len(of_cell)}
            row["search_loss"] = mean_loss(cell, [run for run in of_cell if run["seed"] in plan.search.seeds])
            row["validation_loss"] = mean_loss(cell, of_cell)
            row["validation_accuracies"] = [run.get("validation_accuracy") for run in of_cell]
            row |= {"candidate": cell in candidates[technique], "chosen": cell in chosen[technique]}
            rows.append(row)
    return rows


def at_edge(plan: Tuning, candidates: Cells, chosen: Cells) -> dict[str, list[str]]:
    """Return, for each technique, the ends of the grid at which its best cell of the search or its chosen cell lies,
    and where the plan extends it: "lowest learning_rate", "highest learning_rate" and "strongest setting"."""
    edges: dict[str, list[str]] = {}
    for technique in plan.choices:
        strengths = {name: _strength(plan.settings[name]) for name in plan.choices[technique]}
        strongest = max(strengths.values())
        best = candidates.get(technique, [])[:1] + chosen.get(technique, [])
        rates, reached_strengths = {cell.learning_rate for cell in best}, {strengths[cell.setting] for cell in best}
        ends = {
            "lowest learning_rate": min(plan.learning_rates) in rates,
            "highest learning_rate": max(plan.learning_rates) in rates,
            "strongest setting": len(strengths) > 1 and strongest > 0 and strongest in reached_strengths,
        }
        edges[technique] = [end for end, reached in ends.items() if reached]
    return edges


def _strength(overrides: dict[str, Any]) -> float:
    """Return the number in a setting, such as a dropout probability, or 0 if it has none."""
    numbers = (value for value in overrides.values() if isinstance(value, int | float) and not isinstance(value, bool))
    return float(next(numbers, 0.0))


def compared(final: dict[str, Runs], chosen: Cells, margin: float) -> list[Row]:
    """Return one row for each technique: its chosen cell, its outcomes over the seeds of `final`, and its difference
    from the tuned baseline, paired by seed, with one correction over all techniques and a verdict."""
    techniques = {technique: Replicates(runs) for technique, runs in final.items()}
    results = differences(techniques, margin)
    judge(list(results.values()), len(techniques) - 1)
    rows = []
    for technique, ours in techniques.items():
        row: Row = {"technique": technique, "cell": chosen[technique][0]._asdict() if chosen[technique] else None}
        row |= described(ours, OUTCOMES)
        row["against_baseline"] = results.get(technique)
        rows.append(row)
    return rows
