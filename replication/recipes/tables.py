"""The tables of the recipes, from metrics/recipes.json."""

from typing import Any

from lenet5.report.tables import estimate_text, markdown, seeds_text

Row = dict[str, Any]
SEARCH = ["recipe", "validation accuracy %", "lowest to highest", "vs. the chosen one (95 %)", "validation loss"]
SEARCH += ["kept epoch"]
FINAL = ["recipe", "parameters", "seeds", "test accuracy % (95 %)", "lowest to highest", "test loss"]
FINAL += ["calibration error %", "validation accuracy %"]


def search(rows: list[Row]) -> str:
    """Return the Markdown table of the recipes that were compared on validation images."""
    return markdown(SEARCH, [_search_cells(row) for row in rows])


def _search_cells(row: Row) -> list[str]:
    if "validation_accuracy" not in row:
        return [row["recipe"], f"{row['failures']} diverged", "", "", "", ""]
    accuracy, compared = row["validation_accuracy"], row["against_chosen"]
    difference = estimate_text(compared["difference"], compared["interval"], "+") if compared else ""
    line = [row["recipe"], f"{accuracy['mean']:.2f}", _extremes(accuracy), difference]
    return [*line, f"{row['validation_loss']['mean']:.4f}", f"{row['chosen_epoch']['mean']:.0f}"]


def final(rows: list[Row]) -> str:
    """Return the Markdown table of the chosen recipes on test images."""
    return markdown(FINAL, [_final_cells(row) for row in rows])


def _final_cells(row: Row) -> list[str]:
    if "test_accuracy" not in row:
        return [row["recipe"], "", seeds_text(0, row["failures"]), "", "", "", "", ""]
    accuracy = row["test_accuracy"]
    line = [row["recipe"], f"{row['parameters']:,}", seeds_text(accuracy["n"], row["failures"])]
    line += [estimate_text(accuracy["mean"], accuracy["interval"]), _extremes(accuracy)]
    line += [f"{row['test_loss']['mean']:.4f}"]
    return [*line, f"{row['calibration_error']['mean']:.2f}", f"{row['validation_accuracy']['mean']:.2f}"]


def _extremes(values: Row) -> str:
    return f"{values['lowest']:.2f} to {values['highest']:.2f}"
