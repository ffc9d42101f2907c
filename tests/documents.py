"""Helpers of the tests that compare documents with metrics/."""

import json
from typing import Any

from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.conftest import ROOT


def words(document: str) -> str:
    """Return the text of a document with single spaces."""
    return " ".join((ROOT / document).read_text().split())


def metrics(name: str) -> Any:
    return json.loads((ROOT / f"metrics/{name}.json").read_text())


def estimate(of: dict[str, Any], digits: int = 2) -> str:
    """Return a difference with its interval, as the documents show it."""
    difference, low, high = (f"{value:+.{digits}f}" for value in (of["difference"], *of["interval"]))
    return f"{difference} ({low} to {high})"


def cells(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, row by row; the first row is the header, the second the rule below it."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def by_cell(rows: list[dict[str, Any]]) -> dict[tuple[str, float], Any]:
    """Return rows by technique and learning rate."""
    return {(row["technique"], row["learning_rate"]): row for row in rows}


def compared(name: str) -> dict[tuple[str, float], Any]:
    """Return the differences from the baseline in metrics/<name>.json by technique and learning rate."""
    rows = by_cell(metrics(name)["results"])
    return {cell: of for cell, row in rows.items() if (of := row["against_baseline"])}


USED = 10_000 / 48_000  # test images divided by training images, as in the intervals for another training set


def distinguished(name: str, *, corrected: bool = False, ratio: float = USED) -> list[tuple[str, float]]:
    """Return the cells whose interval for another training set excludes zero, or those that a t-test with its variance
    and Holm's correction distinguishes from zero; both with another ratio, if given."""
    p_values = []
    for of in compared(name).values():
        low, high = of["interval_new_training"]
        error = (high - low) / 2 / stats.t.ppf(0.975, of["n"] - 1)
        error *= ((1 / of["n"] + ratio) / (1 / of["n"] + USED)) ** 0.5
        p_values.append(2 * stats.t.sf(abs(of["difference"]) / error, of["n"] - 1))
    if corrected:
        p_values = multipletests(p_values, method="holm")[1]
    return [cell for cell, p_value in zip(compared(name), p_values, strict=True) if p_value < 0.05]
