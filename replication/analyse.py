"""Analyse the replicates: metrics/replicates -> metrics/replication.{json,csv,md} and metrics/replication/.

The plan of the analysis, committed before the results, is docs/analysis-plan.md.
"""

from lenet5.support.process import Inputs, set_up

set_up()

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from lenet5.report.tables import markdown, p_value_text
from lenet5.support.files import write_atomically, write_json
from lenet5.support.params import BASELINE, ReportedAccuracies, load_params
from lenet5.support.paths import METRICS
from replication.analysis import figures
from replication.analysis.results import REPLICATES, Outcome, Plan, Replicates, load_plan, read_replicates
from replication.analysis.statistics import (
    bca_interval,
    compare,
    crossed_intervals,
    describe,
    proportion_interval,
)

# Accuracies and calibration errors in percent, losses in nats.
OUTCOMES: dict[str, Outcome] = {
    "test_accuracy": lambda replicate: 100 * replicate["test_accuracy"],
    "test_loss": lambda replicate: replicate["test_loss"],
    "calibration_error": lambda replicate: 100 * replicate["test_calibration_error"],
    "train_accuracy": lambda replicate: 100 * replicate["train_accuracy"],
    "chosen_epoch": lambda replicate: replicate["chosen_epoch"],
}
PRIMARY = "test_accuracy"
SECONDARY = ("test_loss", "calibration_error")
SIGNIFICANT = 0.05
# Every accuracy that the exercise reports is a multiple of 1/1615, so it was measured on as many images.
EXERCISE_IMAGES = 1_615
FOLDER = METRICS / "replication"
HEADER = ["technique", "learning rate", "seeds", "test accuracy % (95 %)", "SD", "worst", "test loss"]
HEADER += ["vs. baseline, points (95 %)", "new images too", "p (Holm)", "better run", "verdict"]


def verdict(p_value: float, difference: float, equivalence_p: float | None) -> str:
    """Return the verdict of the analysis plan on a technique."""
    if p_value < SIGNIFICANT:
        return "helps" if difference > 0 else "hurts"
    return "no difference" if equivalence_p is not None and equivalence_p < SIGNIFICANT else "open"


def against_baseline(replicates: dict[str, Replicates], margin: float) -> dict[str, dict[str, Any]]:
    """Return the comparison of each technique with the baseline, paired by seed, where neither run diverged."""
    baseline = replicates[BASELINE]
    common = {
        technique: [seed for seed in baseline.by_seed if seed in ours.by_seed]
        for technique, ours in replicates.items()
        if technique != BASELINE
    }
    common = {technique: seeds for technique, seeds in common.items() if len(seeds) > 1}
    results: dict[str, dict[str, Any]] = {}
    for technique, seeds in common.items():
        ours = replicates[technique]
        pairs = {name: (ours.values(of, seeds), baseline.values(of, seeds)) for name, of in OUTCOMES.items()}
        results[technique] = compare(*pairs[PRIMARY], margin)
        for name in SECONDARY:
            differences = np.subtract(*pairs[name])
            results[technique][name] = {
                "difference": float(differences.mean()),
                "interval": bca_interval(differences),
            }
    # Holm's correction: Scand. J. Stat. 6, 1979
    corrected = multipletests([result["sign_flip_p"] for result in results.values()], method="holm")[1]
    by_image = {
        technique: replicates[technique].correct(seeds).astype(np.int8) - baseline.correct(seeds)
        for technique, seeds in common.items()
    }
    crossed = crossed_intervals(by_image) if by_image else {}
    for (technique, result), p_value in zip(results.items(), corrected, strict=True):
        result["interval_new_images"] = [100 * bound for bound in crossed[technique]]
        result["sign_flip_p_holm"] = float(p_value)
        result["verdict"] = verdict(float(p_value), result["difference"], result["equivalence_p"])
    return results


def analyse(
    replicates: dict[float, dict[str, Replicates]], plan: Plan, exercise: dict[str, ReportedAccuracies]
) -> list[dict[str, Any]]:
    """Return one row for each technique at each learning rate."""
    rows = []
    for rate, techniques in replicates.items():
        compared = against_baseline(techniques, plan.equivalence_points)
        for technique, ours in techniques.items():
            row: dict[str, Any] = {"learning_rate": rate, "technique": technique, "failures": ours.failures}
            if len(ours.by_seed) > 1:
                row |= {name: describe(ours.values(of)) for name, of in OUTCOMES.items()}
            if rate == plan.learning_rate and technique in exercise:
                accuracy = exercise[technique].test
                interval = proportion_interval(accuracy / 100, EXERCISE_IMAGES)
                row["exercise"] = {"test_accuracy": accuracy, "interval": [100 * bound for bound in interval]}
            rows.append(row | {"against_baseline": compared.get(technique)})
    return rows


def preferred_rates(replicates: dict[float, dict[str, Replicates]]) -> dict[str, int]:
    """Return, for each learning rate, how many pairs of technique and seed have their lowest validation loss there."""
    by_rate = {
        rate: {
            (technique, seed): run["validation_loss"]
            for technique, ours in techniques.items()
            for seed, run in ours.by_seed.items()
        }
        for rate, techniques in replicates.items()
    }
    common = set.intersection(*(set(losses) for losses in by_rate.values()))
    preferred = [min(by_rate, key=lambda rate: by_rate[rate][pair]) for pair in common]
    return {str(rate): preferred.count(rate) for rate in by_rate}


def cells(row: dict[str, Any]) -> list[str]:
    """Return a row of the full Markdown table."""
    line = [row["technique"], str(row["learning_rate"])]
    accuracy, compared = row.get("test_accuracy"), row["against_baseline"]
    if accuracy:
        line += [str(accuracy["n"]), f"{accuracy['mean']:.2f} {_range(accuracy['interval'])}"]
        line += [f"{accuracy['standard_deviation']:.2f}", f"{accuracy['worst']:.2f}"]
        line += [f"{row['test_loss']['mean']:.4f}"]
    else:
        line += [f"{row['failures']} diverged", "", "", "", ""]
    if not compared:
        return line + [""] * 5
    line += [f"{compared['difference']:+.2f} {_range(compared['interval'], '+')}"]
    line += [_range(compared["interval_new_images"], "+"), p_value_text(compared["sign_flip_p_holm"])]
    return [*line, f"{100 * compared['improvement']['probability']:.0f} %", compared["verdict"]]


def overview(rows: list[dict[str, Any]]) -> str:
    """Return the short Markdown table: the difference from the baseline at each learning rate, and the verdict."""
    rates = list(dict.fromkeys(row["learning_rate"] for row in rows))
    lines = []
    for technique in dict.fromkeys(row["technique"] for row in rows):
        of_rate = [row for row in rows if row["technique"] == technique]
        verdicts: dict[str, list[str]] = {
            row["against_baseline"]["verdict"]: [] for row in of_rate if row["against_baseline"]
        }
        line = [technique]
        for row in of_rate:
            if compared := row["against_baseline"]:
                verdicts[compared["verdict"]].append(f"{row['learning_rate']}")
                line.append(f"{compared['difference']:+.2f} {_range(compared['interval'], '+')}")
            else:
                line.append(f"{row['test_accuracy']['mean']:.2f} %" if "test_accuracy" in row else "diverged")
        words = [f"{verdict} at {' and '.join(of_verdict)}" for verdict, of_verdict in verdicts.items()]
        lines.append([*line, ", ".join(words)])
    return markdown(["technique", *(f"learning rate {rate}" for rate in rates), "verdict"], lines)


def _range(interval: list[float], sign: str = "") -> str:
    return f"({interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})"


def flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a row with their full names; an interval has two."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield from zip((f"{prefix}{key}.low", f"{prefix}{key}.high"), value, strict=True)
        elif value is not None:
            yield f"{prefix}{key}", value


def main() -> None:
    inputs = Inputs(lambda: (load_plan(), load_params().exercise), REPLICATES)
    plan, exercise = inputs.parameters
    replicates = read_replicates(plan)
    rows = analyse(replicates, plan, exercise)
    content = {"plan": plan.model_dump(), "preferred_by_validation": preferred_rates(replicates), "results": rows}
    images = figures.draw(replicates, rows, plan)
    csv = pd.DataFrame([dict(flat(row)) for row in rows]).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    inputs.require_unchanged()
    write_json(METRICS / "replication.json", content)
    write_atomically(METRICS / "replication.csv", csv.encode())
    table = markdown(HEADER, [cells(row) for row in rows])
    write_atomically(METRICS / "replication.md", table.encode())
    write_atomically(FOLDER / "overview.md", overview(rows).encode())
    for name, png in images.items():
        write_atomically(FOLDER / f"{name}.png", png)
    print(table)


if __name__ == "__main__":
    main()
