"""The tables of the tuned techniques, from metrics/tuning.json."""

from typing import Any

from lenet5.report.tables import estimate_text, markdown, p_value_text, range_text, seeds_text

Row = dict[str, Any]
HEADER = ["technique", "setting", "rate", "schedule", "seeds", "test accuracy % (95 %)", "vs. tuned baseline (95 %)"]
HEADER += ["new training set", "p (Holm)", "verdict", "test loss", "kept epoch"]
SEARCH = ["technique", "setting", "rate", "schedule", "loss in the search", "runs", "loss over all runs", "chosen"]


def full(rows: list[Row]) -> str:
    """Return the Markdown table of what was chosen for each technique, on the test images."""
    return markdown(HEADER, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    line = [row["technique"], *map(str, row["cell"].values())] if row["cell"] else [row["technique"], "", "", ""]
    if "test_accuracy" not in row:
        return [*line, seeds_text(0, row["failures"]), *[""] * 7]
    accuracy, compared = row["test_accuracy"], row["against_baseline"]
    line += [seeds_text(accuracy["n"], row["failures"]), estimate_text(accuracy["mean"], accuracy["interval"])]
    if compared:
        line += [estimate_text(compared["difference"], compared["interval"], "+")]
        line += [range_text(compared["interval_new_training"], "+")]
        line += [p_value_text(compared["sign_flip_p_holm"]), compared["verdict"]]
    else:
        line += [""] * 4
    return [*line, f"{row['test_loss']['mean']:.4f}", f"{row['chosen_epoch']['mean']:.0f}"]


def search(rows: list[Row]) -> str:
    """Return the Markdown table of the candidates, which were compared by their validation losses, or a sentence if
    there are none."""
    candidates = [row for row in rows if row["candidate"]]
    return markdown(SEARCH, [_search_cells(row) for row in candidates]) if candidates else "Every cell diverged.\n"


def _search_cells(row: Row) -> list[str]:
    line = [str(row[name]) for name in ("technique", "setting", "learning_rate", "schedule")]
    losses = ["diverged" if row[name] is None else f"{row[name]:.4f}" for name in ("search_loss", "validation_loss")]
    return [*line, losses[0], str(row["runs"]), losses[1], "yes" if row["chosen"] else ""]
