"""The tables of the tuned techniques, from metrics/tuning.json."""

from typing import Any

from lenet5.report.tables import estimate_text, markdown, p_value_text

Row = dict[str, Any]
HEADER = ["technique", "setting", "rate", "schedule", "seeds", "test accuracy % (95 %)", "vs. tuned baseline (95 %)"]
HEADER += ["p (Holm)", "verdict", "test loss", "kept epoch"]
SEARCH = ["technique", "setting", "rate", "schedule", "runs", "validation loss", "chosen"]


def full(rows: list[Row]) -> str:
    """Return the Markdown table of what was chosen for each technique, on test images."""
    return markdown(HEADER, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    line = [row["technique"], *map(str, row["cell"].values())] if row["cell"] else [row["technique"], "", "", ""]
    if "test_accuracy" not in row:
        return [*line, f"{row['failures']} diverged" if row["failures"] else "", *[""] * 6]
    accuracy, compared = row["test_accuracy"], row["against_baseline"]
    seeds = str(accuracy["n"]) + (f", {row['failures']} diverged" if row["failures"] else "")
    line += [seeds, estimate_text(accuracy["mean"], accuracy["interval"])]
    if compared:
        line += [estimate_text(compared["difference"], compared["interval"], "+")]
        line += [p_value_text(compared["sign_flip_p_holm"]), compared["verdict"]]
    else:
        line += [""] * 3
    return [*line, f"{row['test_loss']['mean']:.4f}", f"{row['chosen_epoch']['mean']:.0f}"]


def search(rows: list[Row]) -> str:
    """Return the Markdown table of the candidates, which were compared on validation images."""
    return markdown(SEARCH, [_search_cells(row) for row in rows if row["candidate"]])


def _search_cells(row: Row) -> list[str]:
    line = [str(row[name]) for name in ("technique", "setting", "learning_rate", "schedule", "runs")]
    return [*line, f"{row['validation_loss']:.4f}", "yes" if row["chosen"] else ""]
