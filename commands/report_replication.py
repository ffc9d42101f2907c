"""The sections of a report on the pipelines in replication/, as HTML."""

from commands.page import image, markdown
from lenet5.support.paths import METRICS

REPLICATION = METRICS / "replication"
OVERVIEW = REPLICATION / "overview.md"
CONFIRMATION = METRICS / "confirmation.md"
RECIPES = METRICS / "recipes"
RECIPES_TESTED = METRICS / "recipes.md"
TUNING = METRICS / "tuning"
TUNING_TESTED = METRICS / "tuning.md"
REPLICATE = "Run `make replicate` to compute it."
TUNE = "Run `make tune` to compute it."


def overview() -> str:
    """Return what the ten seeds show, in short."""
    differences = "Differences from the baseline for each technique and learning rate, with their intervals."
    return "\n".join(
        [
            "<h3>Over seeds</h3>",
            "<p>Test accuracy of the baseline, and differences from it in points, with 95 % intervals for other runs "
            "from the same training images.</p>",
            markdown(OVERVIEW, REPLICATE),
            image(REPLICATION / "differences.png", differences, REPLICATE),
        ]
    )


def replicates() -> str:
    accuracy = "Test accuracy of every replicate, and the mean with its 95 % interval, as in the table."
    curves = "Validation loss of each technique over the epochs: the median over the seeds, and a band to the extremes."
    images = "Accuracy by distance from the training images, differences by class, images that every network misses."
    return "\n".join(
        [
            "<p>Each row summarises runs with different seeds, from the same training images. “New test images” "
            "covers other test images as well, “new training set” other training images; “better run” is the "
            "probability that a run of the technique beats one of the baseline.</p>",
            markdown(METRICS / "replication.md", REPLICATE),
            image(REPLICATION / "accuracy.png", accuracy, REPLICATE),
            image(REPLICATION / "curves.png", curves, REPLICATE),
            image(REPLICATION / "images.png", images, REPLICATE),
        ]
    )


def confirmation() -> str:
    parts = [
        "<p>Fresh seeds repeat the comparison by a plan that was fixed before they were computed; a verdict of the ten "
        "seeds is confirmed if the fresh ones give the same. The plan also asks whether another rule for which epoch "
        "to keep would change the accuracies.</p>",
        markdown(CONFIRMATION, REPLICATE),
    ]
    if "<table>" in parts[-1]:  # until all seeds are computed, file and figure only state how many are
        differences = "Differences from the baseline over the fresh seeds and over the ten seeds, with their intervals."
        parts.append(image(CONFIRMATION.with_suffix(".png"), differences, REPLICATE))
    return "\n".join(parts)


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
            image(TUNING / "accuracy.png", accuracy, TUNE),
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
    if TUNING_TESTED.exists() and "|" in TUNING_TESTED.read_text(encoding="utf-8"):  # otherwise nothing is chosen
        found["Tuned techniques"] = tuning()
    return found
