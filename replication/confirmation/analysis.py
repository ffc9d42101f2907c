"""Do fresh seeds confirm the verdicts of the ten seeds, and does the rule that selects the epoch matter?

docs/analysis-plan.md is the plan of this analysis.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from lenet5.support.params import BASELINE
from replication.analysis.comparison import OUTCOMES, common_seeds, described, differences, judge, mean_with_interval
from replication.analysis.results import Replicates
from replication.analysis.statistics import describe
from replication.confirmation.files import ByRate

Row = dict[str, Any]
Rule = Callable[[dict[str, list[float]]], int]
# Which epoch is kept, as its index in the curves
OF_STUDY = "validation_loss"
RULES: dict[str, Rule] = {
    OF_STUDY: lambda curves: int(np.argmin(curves["validation_loss"])),
    "validation_accuracy": lambda curves: int(np.argmax(curves["validation_accuracy"])),
    "last_epoch": lambda curves: len(curves["validation_loss"]) - 1,
}


def cells(fresh: ByRate) -> Iterator[tuple[float, str, Replicates]]:
    """Yield learning rate, technique and replicates."""
    for rate, techniques in fresh.items():
        for technique, ours in techniques.items():
            yield rate, technique, ours


def confirm(fresh: ByRate, ten_seeds: dict[float, dict[str, Row]], margin: float) -> list[Row]:
    """Return one row for each technique at each rate: its outcomes, its difference from the baseline over the fresh
    seeds, with one correction over all differences, and whether the verdict is that of the ten seeds.

    ten_seeds: the differences of these from the baseline, with verdicts. What cannot be compared is not confirmed.
    """
    compared = {rate: differences(techniques, margin) for rate, techniques in fresh.items()}
    family_size = sum(len(techniques) - 1 for techniques in fresh.values())
    judge([result for of_rate in compared.values() for result in of_rate.values()], family_size)
    rows = []
    for rate, technique, ours in cells(fresh):
        row: Row = {"learning_rate": rate, "technique": technique} | described(ours, OUTCOMES)
        result = compared[rate].get(technique)
        row["against_baseline"] = result
        if technique != BASELINE:
            before = ten_seeds[rate].get(technique, {}).get("verdict")
            row |= {"verdict_of_ten_seeds": before, "confirmed": result is not None and result["verdict"] == before}
        rows.append(row)
    return rows


def rules_of_selection(fresh: ByRate) -> list[Row]:
    """Return one row for each technique at each rate with at least two seeds: the mean test accuracy in percent of the
    epoch that each rule keeps, its difference from that of the study's rule, and that from the baseline under the same
    rule, seed by seed."""
    rows = []
    common = {rate: common_seeds(techniques) for rate, techniques in fresh.items()}
    for rate, technique, ours in cells(fresh):
        if len(ours.by_seed) < 2:
            continue
        row: Row = {"learning_rate": rate, "technique": technique}
        of_study = ours.values(partial(accuracy_of, RULES[OF_STUDY]))
        paired = common[rate].get(technique)
        for name, rule in RULES.items():
            accuracy = partial(accuracy_of, rule)
            values = ours.values(accuracy)
            row[name] = {"mean": float(values.mean())}
            if name != OF_STUDY:
                row[name] |= mean_with_interval(values - of_study)
            if paired:
                of_baseline = fresh[rate][BASELINE].values(accuracy, paired)
                row[name]["against_baseline"] = mean_with_interval(ours.values(accuracy, paired) - of_baseline)
        rows.append(row)
    return rows


def longer_training(longer: Replicates, usual: Replicates) -> Row | None:
    """Return the kept epochs of the longer runs and of the usual ones of the same seeds, and the difference in test
    accuracy between them, in points. None if fewer than two seeds have both."""
    seeds = [seed for seed in longer.by_seed if seed in usual.by_seed]
    if len(seeds) < 2:
        return None
    epochs, accuracies = (
        [runs.values(OUTCOMES[name], seeds) for runs in (longer, usual)] for name in ("chosen_epoch", "test_accuracy")
    )
    return {
        "failures": longer.failures,
        "chosen_epoch": describe(epochs[0]),
        "chosen_epoch_of_usual": describe(epochs[1]),
        "test_accuracy": mean_with_interval(accuracies[0] - accuracies[1]),
    }


def accuracy_of(rule: Rule, run: dict[str, Any]) -> float:
    """Return the test accuracy of a run in percent, of the epoch that the rule keeps."""
    return 100 * float(run["curves"]["test_accuracy"][rule(run["curves"])])
