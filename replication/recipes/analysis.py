"""Which recipe is best on the validation images, and how far the others are from it."""

from typing import Any

from lenet5.support.params import TrainSettings
from replication.analysis.comparison import Techniques, described, mean_with_interval
from replication.analysis.results import Outcome

ON_VALIDATION: dict[str, Outcome] = {
    "validation_accuracy": lambda run: 100 * run["validation_accuracy"],
    "validation_loss": lambda run: run["validation_loss"],
    "chosen_epoch": lambda run: run["chosen_epoch"],
}
ACCURACY = "validation_accuracy"
Settings = dict[str, TrainSettings]


def outcomes(runs: Techniques, of: dict[str, Outcome], settings: Settings) -> list[dict[str, Any]]:
    """Return one row for each recipe, with the statistics of its outcomes over the seeds."""
    return [
        {"recipe": name, "augmented": augmented(settings[name])} | described(ours, of) for name, ours in runs.items()
    ]


def augmented(settings: TrainSettings) -> bool:
    """Return whether a recipe augments the training images."""
    return settings.augmentation != "none"


def against_chosen(runs: Techniques, chosen: list[str], settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the difference of each recipe in validation accuracy, in points, from the chosen one that is augmented
    like it, seed by seed, with its 95 % interval."""
    reference_of = {augmented(settings[name]): name for name in chosen}
    compared = {}
    for name, ours in runs.items():
        reference = reference_of.get(augmented(settings[name]), name)
        seeds = [seed for seed in ours.by_seed if seed in runs[reference].by_seed]
        if reference == name or len(seeds) < 2:
            continue
        accuracies, theirs = (each.values(ON_VALIDATION[ACCURACY], seeds) for each in (ours, runs[reference]))
        compared[name] = {"reference": reference} | mean_with_interval(accuracies - theirs)
    return compared


def best(rows: list[dict[str, Any]]) -> list[str]:
    """Return the recipes with the highest mean validation accuracy, without and with augmentation."""
    found = []
    for kind in (False, True):
        of_kind = [row for row in rows if row["augmented"] == kind and ACCURACY in row]
        found += [max(of_kind, key=lambda row: row[ACCURACY]["mean"])["recipe"]] if of_kind else []
    return found
