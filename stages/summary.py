"""Techniques side by side: metrics/evaluation and metrics/predictions -> metrics/summary.{json,csv,md}."""

import json
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from stages.errors import UserError
from stages.files import write_atomically, write_json
from stages.params import BASELINE, Params, load_params
from stages.paths import EVALUATION, METRICS, PREDICTIONS

SUMMARY = METRICS / "summary"


def mcnemar_exact(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> tuple[int, int, float]:
    """Do two classifiers err equally often on the same images? Bool N each: was the image recognised.

    Returns the images that only ours got right, those that only theirs did, and the two-sided p-value: under the null
    hypothesis each such image falls to either with probability 1/2 (McNemar, Psychometrika 12, 1947; exact form).
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    disagreements = only_ours + only_theirs
    p_value = float(binomtest(only_ours, disagreements, 0.5).pvalue) if disagreements else 1.0
    return only_ours, only_theirs, p_value


def comparisons(recognised: dict[str, np.ndarray[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Each technique against the baseline, the p-values with Holm's correction (Scand. J. Stat. 6, 1979)."""
    results: dict[str, dict[str, Any]] = {}
    for technique, ours in recognised.items():
        if technique == BASELINE:
            continue
        only_ours, only_baseline, p_value = mcnemar_exact(ours, recognised[BASELINE])
        results[technique] = {
            "difference_points": 100 * (only_ours - only_baseline) / len(ours),
            "only_this_right": only_ours,
            "only_baseline_right": only_baseline,
            "mcnemar_p": p_value,
        }
    if results:
        corrected = multipletests([result["mcnemar_p"] for result in results.values()], method="holm")[1]
        for result, p_value in zip(results.values(), corrected, strict=True):
            result["mcnemar_p_holm"] = float(p_value)
    return results


def summarise(params: Params) -> list[dict[str, Any]]:
    """A row a technique, in the order of params.yaml; accuracies in percent, differences in percentage points."""
    evaluations = {name: json.loads((EVALUATION / f"{name}.json").read_text()) for name in params.techniques}
    predictions = {name: pd.read_csv(PREDICTIONS / f"{name}.csv") for name in params.techniques}
    recognised = {name: (table["label"] == table["predicted"]).to_numpy() for name, table in predictions.items()}
    compared = comparisons(recognised)
    rows = []
    for name, figures in evaluations.items():
        low, high = figures["test_accuracy_interval"]
        document = params.document.get(name)
        rows.append(
            {
                "technique": name,
                "test_accuracy": 100 * figures["test_accuracy"],
                "test_accuracy_low": 100 * low,
                "test_accuracy_high": 100 * high,
                "train_accuracy": 100 * figures["train_accuracy"],
                "validation_accuracy": 100 * figures["validation_accuracy"],
                "test_loss": figures["test_loss"],
                "validation_loss": figures["validation_loss"],
                "calibration_error": 100 * figures["test_calibration_error"],
                "chosen_epoch": figures["chosen_epoch"],
                "parameters": figures["parameters"],
                **compared.get(name, dict.fromkeys(next(iter(compared.values()), {}))),
                "document_test_accuracy": document and document.test,
                "document_train_accuracy": document and document.train,
            }
        )
    return rows


def p_value_text(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for people, in GitHub's Markdown, which a terminal shows legibly too."""

    header = ["technique", "test accuracy % (95 %)", "train %", "epoch", "test loss", "calibration error %"]
    header += ["to baseline, points", "McNemar p (Holm)", "document test / train %"]
    lines = [header]
    for row in rows:
        interval = f"{row['test_accuracy']:.2f} ({row['test_accuracy_low']:.2f} to {row['test_accuracy_high']:.2f})"
        line = [row["technique"], interval, f"{row['train_accuracy']:.2f}", str(row["chosen_epoch"])]
        line += [f"{row['test_loss']:.4f}", f"{row['calibration_error']:.2f}"]
        compared = row.get("mcnemar_p_holm") is not None
        line += [f"{row['difference_points']:+.2f}", p_value_text(row["mcnemar_p_holm"])] if compared else ["", ""]
        known = row["document_test_accuracy"] is not None
        line += [f"{row['document_test_accuracy']:.2f} / {row['document_train_accuracy']:.2f}" if known else ""]
        lines.append(line)
    return table(lines)


def table(lines: list[list[str]]) -> str:
    """Rows of cells, the first the header, in GitHub's Markdown: the first column to the left, the others to the right,
    aligned in the text too."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * (width - 1) + (":" if column else "-") for column, width in enumerate(widths)]
    return "".join(_line(line, widths) for line in [lines[0], rule, *lines[1:]])


def _line(cells: list[str], widths: list[int]) -> str:
    aligned = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join([cells[0].ljust(widths[0]), *aligned[1:]]) + " |\n"


def main() -> None:
    try:
        rows = summarise(load_params())
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is not there. `dvc repro` makes it.") from None
    write_json(SUMMARY.with_suffix(".json"), {"techniques": rows})
    csv = pd.DataFrame(rows).round(6).to_csv(index=False, lineterminator="\n")
    write_atomically(SUMMARY.with_suffix(".csv"), csv.encode())
    write_atomically(SUMMARY.with_suffix(".md"), markdown(rows).encode())
    print(markdown(rows))


if __name__ == "__main__":
    main()
