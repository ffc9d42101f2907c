"""The tables of the confirmation, from metrics/confirmation.json."""

from typing import Any

from lenet5.report.tables import markdown, p_value_text, range_text

Row = dict[str, Any]
HEADER = ["technique", "rate", "seeds", "test accuracy % (95 %)", "vs. baseline (95 %)", "p (Holm)", "verdict"]
HEADER += ["of ten seeds"]
RULES_HEADER = ["technique", "rate", "lowest validation loss", "highest validation accuracy", "last epoch"]


def full(rows: list[Row]) -> str:
    """Return the Markdown table of every technique at every learning rate, with the verdict of the ten seeds."""
    return markdown(HEADER, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    line = [row["technique"], str(row["learning_rate"])]
    if accuracy := row.get("test_accuracy"):
        line += [str(accuracy["n"]), f"{accuracy['mean']:.2f} {range_text(accuracy['interval'])}"]
    else:
        line += [f"{row['failures']} diverged", ""]
    if not (compared := row["against_baseline"]):
        return line + [""] * 4
    line += [f"{compared['difference']:+.2f} {range_text(compared['interval'], '+')}"]
    line += [p_value_text(compared["sign_flip_p_holm"]), compared["verdict"]]
    return [*line, compared.get("verdict_of_ten_seeds", "")]


def rules(rows: list[Row]) -> str:
    """Return the Markdown table of the test accuracies by the rule that keeps an epoch."""
    return markdown(RULES_HEADER, [_rules_cells(row) for row in rows])


def _rules_cells(row: Row) -> list[str]:
    line = [row["technique"], str(row["learning_rate"]), f"{row['validation_loss']['mean']:.2f}"]
    for name in ("validation_accuracy", "last_epoch"):
        line.append(f"{row[name]['mean']:.2f}, {row[name]['difference']:+.2f} {range_text(row[name]['interval'], '+')}")
    return line
