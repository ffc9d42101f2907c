"""The tables of the confirmation, from metrics/confirmation.json."""

from typing import Any

from lenet5.report.tables import estimate_text, markdown, p_value_text, range_text, seeds_text
from replication.confirmation.analysis import OF_STUDY, RULES

Row = dict[str, Any]
HEADER = ["technique", "rate", "seeds", "test accuracy % (95 %)", "pairs", "vs. baseline (95 %)"]
HEADER += ["new training set", "p (Holm)", "verdict", "earlier seeds", "confirmed"]
RULES_HEADER = ["technique", "rate", "at lowest validation loss %", "vs. baseline (95 %)"]
RULES_HEADER += ["at highest validation accuracy %", "change (95 %)", "vs. baseline (95 %)"]
RULES_HEADER += ["at last epoch %", "change (95 %)", "vs. baseline (95 %)"]

LONGER_HEADER = ["technique", "rate", "epochs", "seeds", "kept epoch of the usual runs, median (range)"]
LONGER_HEADER += ["of the longer runs", "test accuracy, difference in points (95 %)"]


def full(rows: list[Row]) -> str:
    """Return the Markdown table of every technique at every learning rate, with the verdict of the earlier seeds."""
    return markdown(HEADER, [_cells(row) for row in rows])


def _cells(row: Row) -> list[str]:
    accuracy, compared = row.get("test_accuracy"), row["against_baseline"]
    line = [row["technique"], str(row["learning_rate"])]
    line += [seeds_text(accuracy["n"] if accuracy else 0, row["failures"])]
    line += [estimate_text(accuracy["mean"], accuracy["interval"]) if accuracy else ""]
    if compared:
        line += [str(compared["n"]), estimate_text(compared["difference"], compared["interval"], "+")]
        line += [range_text(compared["interval_new_training"], "+")]
        line += [p_value_text(compared["sign_flip_p_holm"]), compared["verdict"]]
    else:
        line += [""] * 5
    if "confirmed" not in row:
        return [*line, "", ""]
    return [*line, row["verdict_of_ten_seeds"] or "", "yes" if row["confirmed"] else "no"]


def longer(part: Row) -> str:
    """Return the Markdown table of the runs with another number of epochs, or a sentence if there are none."""
    result = part.get("result")
    if not result:
        return "Fewer than two of these runs can be compared.\n"
    usual, longest = result["chosen_epoch_of_usual"], result["chosen_epoch"]
    line = [part["technique"], str(part["learning_rate"]), str(part["epochs"])]
    line += [seeds_text(usual["n"], result["failures"])]
    line += [f"{of['median']:.0f} ({of['lowest']:.0f} to {of['highest']:.0f})" for of in (usual, longest)]
    line += [estimate_text(result["test_accuracy"]["difference"], result["test_accuracy"]["interval"], "+")]
    return markdown(LONGER_HEADER, [line])


def rules(rows: list[Row]) -> str:
    """Return the Markdown table of the test accuracies by the rule that selects the kept epoch."""
    return markdown(RULES_HEADER, [_rules_cells(row) for row in rows])


def _rules_cells(row: Row) -> list[str]:
    line = [row["technique"], str(row["learning_rate"])]
    for name in RULES:
        ours = row[name]
        line.append(f"{ours['mean']:.2f}")
        if name != OF_STUDY:
            line.append(estimate_text(ours["difference"], ours["interval"], "+"))
        compared = ours.get("against_baseline")
        line.append(estimate_text(compared["difference"], compared["interval"], "+") if compared else "")
    return line
