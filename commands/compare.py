"""Compare the test results of two revisions, with their uncertainty: `python -m commands.compare main HEAD`.

A revision is a commit, branch, tag, experiment, or `workspace`. If both have the same `selected` in params.yaml, each
technique is compared with itself; otherwise the two selected techniques are compared, so that `baseline dropout`, of
`make experiments`, compares these techniques. `--technique NAME` compares this one with itself in any case.

Differences are those of the second revision minus the first one. Over the test images they compare two trained
networks, by their predictions for the same images, with McNemar's exact p-value. If both revisions also have replicates
with their settings, a second row compares these over seeds, paired by seed, with Student's t: it answers which settings
are better, whatever the seed.

The p-value decides the verdict, which is on accuracy. With several techniques it has Holm's correction, over those
whose results differ; the intervals have none.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
import sys
from typing import Any

import numpy as np
from statsmodels.stats.multitest import multipletests

from commands.revisions import Result, Revision
from lenet5.report.differences import SIGNIFICANT, of_losses, over_images, over_seeds
from lenet5.report.tables import markdown, p_value_text
from lenet5.support.errors import UserError

EXAMPLES = """examples:
  python -m commands.compare main HEAD                 each technique of two commits
  python -m commands.compare HEAD workspace --md       the same for uncommitted results, as Markdown
  python -m commands.compare baseline dropout --json   two experiments of `make experiments`
"""
UNITS = {"images": "test images", "seeds": "seeds"}
TESTS = {"images": "McNemar's exact test", "seeds": "Student's paired test"}

Row = dict[str, Any]


def pairs(first: Revision, second: Revision, technique: str | None) -> list[tuple[str, str]]:
    """Return the techniques to compare, of the first and of the second revision."""
    if technique:
        return [(technique, technique)]
    if first.selected != second.selected:
        return [(first.selected, second.selected)]
    common = [(name, name) for name in first.techniques if name in second.techniques]
    if not common:
        raise UserError(f"{first.name} and {second.name} have no technique in common, so they cannot be compared.")
    return common


def image_row(first: Result, second: Result) -> Row:
    """Return the differences of two models on the same test images: accuracy in points, loss in nats."""
    accuracy = over_images(first.correct, second.correct)
    p_value = accuracy.pop("p")
    loss: Row = {"difference": second.outcome.loss - first.outcome.loss}
    if first.losses is not None and second.losses is not None:
        loss = of_losses(first.losses, second.losses)
    return {
        "techniques": [first.technique, second.technique],
        "over": "images",
        "n": len(first.correct),
        "test_accuracy": {"values": [first.outcome.accuracy, second.outcome.accuracy], **accuracy},
        "test_loss": {"values": [first.outcome.loss, second.outcome.loss], **loss},
        "p": p_value,
    }


def seed_row(first: Result, second: Result) -> Row | None:
    """Return None if fewer than two seeds have a replicate on both sides, or if all these are the same."""
    common = [seed for seed in first.replicates if seed in second.replicates]
    if len(common) < 2 or all(first.replicates[seed] == second.replicates[seed] for seed in common):
        return None
    row: Row = {"techniques": [first.technique, second.technique], "over": "seeds", "n": len(common)}
    for name in ("accuracy", "loss"):
        ours, theirs = (np.array([getattr(side.replicates[seed], name) for seed in common]) for side in (first, second))
        row[f"test_{name}"] = {"values": [float(ours.mean()), float(theirs.mean())], **over_seeds(ours, theirs)}
    row["p"] = row["test_accuracy"].pop("p")
    return row


def compare(first: Revision, second: Revision, technique: str | None) -> list[Row]:
    """Return one row for each pair of techniques over the test images, and one over the seeds where possible.

    Accuracies are in percent and their differences in points; losses are in nats. Raises UserError if the test images
    differ.
    """
    rows = []
    for names in pairs(first, second, technique):
        results = [revision.result(name) for revision, name in zip((first, second), names, strict=True)]
        if not np.array_equal(results[0].labels, results[1].labels):
            raise UserError(
                f"{first.name} and {second.name} were evaluated on different test images: the labels in "
                f"metrics/predictions differ ({' and '.join(dict.fromkeys(names))}). Compare revisions with the same "
                "sha256 and subset in params.yaml."
            )
        rows += [row for row in (image_row(*results), seed_row(*results)) if row]
    for kind in UNITS:
        tested = [row for row in rows if row["over"] == kind and not same_images_right(row)]
        corrected = multipletests([row["p"] for row in tested], method="holm")[1]
        for row, p_value in zip(tested, corrected, strict=True):
            row["p_holm"] = float(p_value)
    for row in rows:
        row.setdefault("p_holm", 1.0)
        row["verdict"] = verdict(row, labels(first, second, row))
    return rows


def same_images_right(row: Row) -> bool:
    """Return whether both models classify the same test images correctly."""
    accuracy = row["test_accuracy"]
    return row["over"] == "images" and not any((accuracy["only_first_right"], accuracy["only_second_right"]))


def labels(first: Revision, second: Revision, row: Row) -> list[str]:
    """Return how to name both sides of a row: by the revision, and by the technique if it is not the same."""
    revisions, techniques = [first.name, second.name], row["techniques"]
    if techniques[0] == techniques[1]:
        return revisions
    named = zip(revisions, techniques, strict=True)
    return [technique if revision == technique else f"{technique} of {revision}" for revision, technique in named]


def verdict(row: Row, sides: list[str]) -> str:
    """Return which side is better, if the corrected p-value shows a difference."""
    if row["p_holm"] < SIGNIFICANT:
        return f"{sides[row['test_accuracy']['difference'] > 0]} is better"
    return "the same images are classified correctly" if same_images_right(row) else "cannot be told apart"


def with_interval(difference: dict[str, Any], digits: int) -> str:
    """Return a difference with its interval, if it has one."""
    text = f"{difference['difference']:+.{digits}f}"
    if "interval" not in difference:
        return text
    low, high = difference["interval"]
    return f"{text} ({low:+.{digits}f} to {high:+.{digits}f})"


def table(first: Revision, second: Revision, rows: list[Row]) -> str:
    """Return the Markdown table of all rows."""
    header = ["technique", "over", f"{first.name}: accuracy %, loss", f"{second.name}: accuracy %, loss"]
    header += ["points (95 %)", "loss (95 %)", "p (Holm)", "verdict"]
    cells = []
    for row in rows:
        values = zip(row["test_accuracy"]["values"], row["test_loss"]["values"], strict=True)
        line = [", ".join(dict.fromkeys(row["techniques"])), f"{row['n']:,} {UNITS[row['over']]}"]
        line += [f"{accuracy:.2f}, {loss:.4f}" for accuracy, loss in values]
        line += [with_interval(row["test_accuracy"], 2), with_interval(row["test_loss"], 4)]
        cells.append([*line, p_value_text(row["p_holm"]), row["verdict"]])
    return markdown(header, cells)


def sentences(first: Revision, second: Revision, rows: list[Row]) -> str:
    """Return each row as lines of text."""
    lines = []
    for row in rows:
        technique, other = row["techniques"]
        sides = labels(first, second, row)
        lines.append(
            f"{'' if technique != other else f'{technique}, '}{row['n']:,} {UNITS[row['over']]}: {row['verdict']}"
        )
        for side, percent, nats in zip(sides, row["test_accuracy"]["values"], row["test_loss"]["values"], strict=True):
            lines.append(f"  {side}: test accuracy {percent:.2f} %, test loss {nats:.4f}")
        accuracy, loss = with_interval(row["test_accuracy"], 2), with_interval(row["test_loss"], 4)
        corrected = sum(other["over"] == row["over"] for other in rows) > 1
        p_value = f"p = {p_value_text(row['p_holm'])}{' (Holm)' if corrected else ''}".replace("= <", "<")
        lines.append(f"  difference: {accuracy} points, loss {loss}; {TESTS[row['over']]}: {p_value}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare",
        description="Compare the test results of two revisions, with 95 % intervals: each technique with itself or,\n"
        "if `selected` in params.yaml differs, the two selected techniques. Differences are B minus A.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", metavar="A", help="a commit, branch, tag, experiment, or `workspace`")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument("--technique", metavar="NAME", help="compare only this technique, with itself")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", action="store_true", help="print a Markdown table")
    form.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    first, second = Revision(options.first), Revision(options.second)
    rows = compare(first, second, options.technique)
    if options.json:
        sides = [{"revision": side.name, "commit": side.commit} for side in (first, second)]
        print(json.dumps({"revisions": sides, "comparisons": rows}, indent=2))
    else:
        print((table if options.md else sentences)(first, second, rows).rstrip())


if __name__ == "__main__":
    main(sys.argv[1:])
