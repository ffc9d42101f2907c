"""The tables of the replication, from the rows of metrics/replication.json."""

from collections.abc import Iterator
from typing import Any

from lenet5.report.tables import estimate_text, markdown, p_value_text, range_text, seeds_text

Row = dict[str, Any]

HEADER = ["technique", "rate", "seeds", "test accuracy % (95 %)", "SD", "test loss"]
HEADER += ["vs. baseline (95 %)", "new test images", "new training set", "p (Holm)", "better run", "verdict"]
EXERCISE_HEADER = ["technique", "rate", "test %", "ours, 95 %", "percentile", "train %", "ours, 95 %", "percentile"]


def full(rows: list[Row]) -> str:
    """Return the Markdown table of every technique at every learning rate."""
    return markdown(HEADER, [cells(row) for row in rows])


def cells(row: Row) -> list[str]:
    """Return a row of the full table."""
    line = [row["technique"], str(row["learning_rate"])]
    accuracy, compared = row.get("test_accuracy"), row["against_baseline"]
    if accuracy:
        line += [seeds_text(accuracy["n"], row["failures"]), estimate_text(accuracy["mean"], accuracy["interval"])]
        line += [f"{accuracy['standard_deviation']:.2f}", f"{row['test_loss']['mean']:.4f}"]
    else:
        line += [seeds_text(0, row["failures"]), "", "", ""]
    if not compared:
        return line + [""] * 6
    line += [estimate_text(compared["difference"], compared["interval"], "+")]
    line += [range_text(compared[name], "+") for name in ("interval_new_images", "interval_new_training")]
    line += [p_value_text(compared["sign_flip_p_holm"])]
    return [*line, f"{100 * compared['improvement']['probability']:.0f} %", compared["verdict"]]


def overview(rows: list[Row]) -> str:
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
                line.append(estimate_text(compared["difference"], compared["interval"], "+"))
            else:
                line.append(f"{row['test_accuracy']['mean']:.2f} %" if "test_accuracy" in row else "diverged")
        words = [f"{verdict} at {' and '.join(of_verdict)}" for verdict, of_verdict in verdicts.items()]
        lines.append([*line, ", ".join(words)])
    return markdown(["technique", *(f"learning rate {rate}" for rate in rates), "verdict"], lines)


def exercise(rows: list[Row]) -> str:
    """Return the Markdown table that compares the accuracies of the exercise with ours."""
    return markdown(EXERCISE_HEADER, [_exercise_cells(row) for row in rows if "exercise" in row])


def _exercise_cells(row: Row) -> list[str]:
    line = [row["technique"], str(row["learning_rate"])]
    for of_images in row["exercise"].values():
        line.append(f"{of_images['accuracy']:.2f}")
        if "range" in of_images:
            low, high = of_images["range"]
            line += [f"{low:.2f} to {high:.2f}", f"{of_images['percentile']:.1f}"]
        else:
            line += ["", ""]
    return line


def flat(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a row with their full names; an interval has two."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield from zip((f"{prefix}{key}.low", f"{prefix}{key}.high"), value, strict=True)
        elif value is not None:
            yield f"{prefix}{key}", value
