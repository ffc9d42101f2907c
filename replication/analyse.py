"""What the replicates say: metrics/replicates -> metrics/replication.{json,csv,md} and metrics/replication/*.png.

The plan of the analysis stands in README.md, and was there before the results.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import percentileofscore

from replication import figures
from replication.results import Outcome, Plan, Replicates, load_plan, read_replicates
from replication.statistics import bca_interval, compare, crossed_intervals, describe, holm
from stages.files import write_atomically, write_json
from stages.params import BASELINE, DocumentFigures, load_params
from stages.paths import METRICS
from stages.summary import p_value_text, table

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


def verdict(p_value: float, difference: float, equivalence_p: float | None) -> str:
    """What the plan lets one say of a technique."""
    if p_value < SIGNIFICANT:
        return "helps" if difference > 0 else "hurts"
    return "no difference" if equivalence_p is not None and equivalence_p < SIGNIFICANT else "open"


def against_baseline(replicates: dict[str, Replicates], margin: float) -> dict[str, dict[str, Any]]:
    """Each technique that can be compared, seed by seed, over the seeds with which neither diverged."""
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
    corrected = holm([result["sign_flip_p"] for result in results.values()])
    by_image = {
        technique: replicates[technique].correct(seeds).astype(np.int8) - baseline.correct(seeds)
        for technique, seeds in common.items()
    }
    crossed = crossed_intervals(by_image) if by_image else {}
    for (technique, result), p_value in zip(results.items(), corrected, strict=True):
        result["interval_new_images"] = [100 * bound for bound in crossed[technique]]
        result["sign_flip_p_holm"] = p_value
        result["verdict"] = verdict(p_value, result["difference"], result["equivalence_p"])
    return results


def analyse(
    replicates: dict[float, dict[str, Replicates]], plan: Plan, document: dict[str, DocumentFigures]
) -> list[dict[str, Any]]:
    """A row for each technique at each learning rate."""
    rows = []
    for rate, techniques in replicates.items():
        compared = against_baseline(techniques, plan.equivalence_points)
        for technique, ours in techniques.items():
            row: dict[str, Any] = {"learning_rate": rate, "technique": technique, "failures": ours.failures}
            if len(ours.by_seed) > 1:
                row |= {name: describe(ours.values(of)) for name, of in OUTCOMES.items()}
                if technique in document:
                    reported = document[technique].test
                    percentile = percentileofscore(ours.values(OUTCOMES[PRIMARY]), reported, kind="mean")
                    row["document"] = {"test_accuracy": reported, "percentile": float(percentile)}
            rows.append(row | {"against_baseline": compared.get(technique)})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for people."""
    header = ["technique", "learning rate", "seeds", "test accuracy % (95 %)", "SD", "worst", "test loss"]
    header += ["to baseline, points (95 %)", "new images too", "p (Holm)", "better training", "verdict"]
    lines = [header]
    for row in rows:
        line = [row["technique"], str(row["learning_rate"])]
        accuracy, compared = row.get("test_accuracy"), row["against_baseline"]
        if accuracy:
            line += [str(accuracy["n"]), f"{accuracy['mean']:.2f} {_range(accuracy['interval'])}"]
            line += [f"{accuracy['standard_deviation']:.2f}", f"{accuracy['worst']:.2f}"]
            line += [f"{row['test_loss']['mean']:.4f}"]
        else:
            line += [f"{row['failures']} diverged", "", "", "", ""]
        if compared:
            line += [f"{compared['difference']:+.2f} {_range(compared['interval'], '+')}"]
            line += [_range(compared["interval_new_images"], "+"), p_value_text(compared["sign_flip_p_holm"])]
            line += [f"{100 * compared['improvement']['probability']:.0f} %", compared["verdict"]]
        else:
            line += [""] * 5
        lines.append(line)
    return table(lines)


def _range(interval: list[float], sign: str = "") -> str:
    return f"({interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})"


def flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The row's leaves with their full names; an interval is two."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield from zip((f"{prefix}{key}.low", f"{prefix}{key}.high"), value, strict=True)
        elif value is not None:
            yield f"{prefix}{key}", value


def main() -> None:
    plan, document = load_plan(), load_params().document
    replicates = read_replicates(plan)
    rows = analyse(replicates, plan, document)
    write_json(METRICS / "replication.json", {"plan": plan.model_dump(), "results": rows})
    csv = pd.DataFrame([dict(flat(row)) for row in rows]).to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_atomically(METRICS / "replication.csv", csv.encode())
    write_atomically(METRICS / "replication.md", markdown(rows).encode())
    figures.draw(replicates, rows, plan.equivalence_points)
    print(markdown(rows))


if __name__ == "__main__":
    main()
