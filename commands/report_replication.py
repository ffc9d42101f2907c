"""The sections of a report on the pipelines in replication/, as HTML."""

from pathlib import Path

from commands.page import image, markdown
from lenet5.support.paths import METRICS

REPLICATION = METRICS / "replication"
OVERVIEW = REPLICATION / "overview.md"
DIFFERENCES = REPLICATION / "differences.png"
CONFIRMATION = METRICS / "confirmation.md"
FRESH_OVERVIEW = REPLICATION / "fresh_seeds.md"
FRESH_DIFFERENCES = METRICS / "confirmation.png"
RECIPES = METRICS / "recipes"
RECIPES_TESTED = METRICS / "recipes.md"
TUNING = METRICS / "tuning"
TUNING_TESTED = METRICS / "tuning.md"
REPLICATE = "Run `make replicate` to compute it."
TUNE = "Run `make tune` to compute it."


def is_computed(table: Path) -> bool:
    """Return whether a file holds a table. It is missing or holds a sentence until the runs are computed."""
    return table.exists() and "|" in table.read_text(encoding="utf-8")


def overview() -> str:
    """Return what the seeds show, in short: the fresh ones, if all are computed."""
    differences = "Differences from the baseline for each technique and learning rate, with their intervals."
    fresh = is_computed(FRESH_OVERVIEW)
    table, figure = (FRESH_OVERVIEW, FRESH_DIFFERENCES) if fresh else (OVERVIEW, DIFFERENCES)
    return "\n".join(
        [
            "<h3>Over seeds</h3>",
            "<p>Test accuracy of the baseline, and differences from it in points, with 95 % intervals for other runs "
            "from the same training images.</p>",
            markdown(table, REPLICATE),
            image(figure, differences, REPLICATE),
        ]
    )


def replicates() -> str:
    accuracy = "Test accuracy of every replicate, and the mean with its 95 % interval, as in the table."
    curves = "Validation loss of each technique over the epochs: the median over the seeds, and a band to the extremes."
    images = "Accuracy by distance from the training images, differences by class, images that every network misses."
    differences = "Differences from the baseline for each technique and learning rate, with a dot for each seed."
    return "\n".join(
        [
            "<p>Each row summarises runs with different seeds, from the same training images. “New test images” "
            "covers other test images as well, “new training set” other training images; “better run” is the "
            "probability that a run of the technique beats one of the baseline.</p>",
            markdown(METRICS / "replication.md", REPLICATE),
            image(REPLICATION / "accuracy.png", accuracy, REPLICATE),
            *([image(DIFFERENCES, differences, REPLICATE)] if is_computed(FRESH_OVERVIEW) else []),
            image(REPLICATION / "curves.png", curves, REPLICATE),
            image(REPLICATION / "images.png", images, REPLICATE),
        ]
    )


def confirmation() -> str:
    text = (
        "<p>Fresh seeds repeat the comparison by a plan that was fixed before they were computed; a verdict of the "
        "earlier seeds is confirmed if the fresh ones give the same. p is corrected over all differences. Intervals "
        "cover other runs from the same training images; “new training set” also covers other training images. What "
        "follows this table is exploratory: what if another epoch were kept, and what if training were longer?</p>"
    )
    return f"{text if is_computed(CONFIRMATION) else ''}\n{markdown(CONFIRMATION, REPLICATE)}"


def recipes() -> str:
    accuracy = "Validation accuracy of the runs of the search, and test accuracy of the chosen recipes."
    augmentation = "What each value of the setting augmentation makes of training images."
    return "\n".join(
        [
            "<p>Recipes of several settings, compared on the validation images; the chosen ones, computed with other "
            "seeds, on the test images.</p>",
            markdown(RECIPES_TESTED, REPLICATE),
            markdown(RECIPES / "search.md", REPLICATE),
            image(RECIPES / "accuracy.png", accuracy, REPLICATE),
            image(RECIPES / "augmentation.png", augmentation, REPLICATE),
        ]
    )


def tuning() -> str:
    loss = "Lowest validation loss of every setting of each technique at each learning rate and schedule."
    accuracy = "Test accuracy of each tuned technique, and differences from the tuned baseline with their intervals."
    return "\n".join(
        [
            "<p>Each technique with the setting, learning rate and schedule that validation loss prefers, computed "
            "with other seeds, on the test images.</p>",
            markdown(TUNING_TESTED, TUNE),
            *([image(TUNING / "accuracy.png", accuracy, TUNE)] if is_computed(TUNING_TESTED) else []),
            markdown(TUNING / "search.md", TUNE),
            image(TUNING / "search.png", loss, TUNE),
        ]
    )


def replication_sections() -> dict[str, str]:
    """Return the HTML below each heading, for the parts that have been computed. Raises UserError if a file of one is
    missing or damaged."""
    found = {}
    if OVERVIEW.exists():
        found["Replicates"] = replicates()
    if CONFIRMATION.exists():
        found["Confirmation"] = confirmation()
    if RECIPES_TESTED.exists():
        found["Recipes"] = recipes()
    if TUNING_TESTED.exists():
        found["Tuned techniques"] = tuning()
    return found
