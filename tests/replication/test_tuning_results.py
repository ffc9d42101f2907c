"""README.md and docs/results.md: what they state about the tuned techniques follows from metrics/."""

from typing import Any

from replication.tuning.plan import load_tuning
from tests.conftest import ROOT
from tests.documents import compared, estimate, metrics, words

NAMES = {
    "batch_norm": "batch normalisation",
    "decoupled_decay": "decoupled weight decay",
    "label_smoothing": "label smoothing",
    "weight_decay": "weight decay",
}


def of_techniques() -> dict[str, Any]:
    """Return the difference of each technique from the tuned baseline, the largest first."""
    rows = {row["technique"]: row["against_baseline"] for row in metrics("tuning")["final"]}
    del rows["baseline"]
    return dict(sorted(rows.items(), key=lambda item: -item[1]["difference"]))


def test_the_table_of_tuned_techniques_is_the_computed_one() -> None:
    assert load_tuning(ROOT / "replication/tuning/params.yaml").final.seeds == list(range(60, 80))
    assert f"\n\n{(ROOT / 'metrics/tuning.md').read_text()}\n" in (ROOT / "docs/results.md").read_text()


def test_the_answer_about_tuned_techniques_is_the_computed_one() -> None:
    readme, results, rows = words("README.md"), words("docs/results.md"), of_techniques()
    assert [of["verdict"] for of in rows.values()] == ["helps"] * 6  # "each of the six techniques"
    assert {of["n"] for of in rows.values()} == {20}
    texts = [f"{NAMES.get(name, name)} by {estimate(of)}" for name, of in rows.items()]
    first, (name, most) = texts[1:], next(iter(rows.items()))
    assert (
        f"Augmentation helps most, by {estimate(most)} points, then {first[0]}," in results and name == "augmentation"
    )
    assert f"{', '.join(first[:-1])} and {first[-1]}.**" in results
    name, least = list(rows.items())[-1]
    assert f"from {NAMES[name]}, {estimate(least)} points, to augmentation, {estimate(most)}." in readme


def test_what_is_said_of_tuning_and_training_sets_is_computed() -> None:
    results, rows = words("docs/results.md"), of_techniques()
    open_ = {name: of["interval_new_training"] for name, of in rows.items() if of["interval_new_training"][0] < 0}
    assert set(rows) - set(open_) == {"augmentation", "decoupled_decay", "weight_decay", "dropout"}
    texts = [f"{NAMES[name]} ({low:+.2f} to {high:+.2f})" for name, (low, high) in open_.items()]
    assert f"Those of {' and '.join(texts)} do not." in results
    untuned = compared("confirmation")
    cell = next(row["cell"] for row in metrics("tuning")["final"] if row["technique"] == "weight_decay")
    assert cell["setting"] == "coupled_1e-3"  # "of the same strength"
    assert f"gains {estimate(untuned['weight_decay', 0.001])} points at a constant rate of 0.001" in results
    high, low = (estimate(untuned["batch_norm", rate]) for rate in (0.01, 0.001))
    assert f"Batch normalisation gains {high} at 0.01 and {low} at 0.001 there" in results
    assert rows["batch_norm"]["difference"] < untuned["batch_norm", 0.001]["difference"]


def test_loss_and_calibration_of_tuned_techniques_are_computed() -> None:
    results, rows = words("docs/results.md"), of_techniques()
    losses = {name: of["test_loss"] for name, of in rows.items()}
    assert [name for name, of in losses.items() if of["interval"][1] >= 0] == ["label_smoothing"]
    assert min(losses, key=lambda name: losses[name]["difference"]) == "augmentation"
    assert f"augmentation most, by {estimate(losses['augmentation'], 4)}." in results
    assert losses["label_smoothing"]["interval"][0] > 0
    assert f"Label smoothing raises it by {estimate(losses['label_smoothing'], 4)};" in results
    errors = {name: of["calibration_error"] for name, of in rows.items()}
    shown = {name: estimate(of) for name, of in errors.items() if of["interval"][0] * of["interval"][1] > 0}
    assert shown.keys() == {"weight_decay", "label_smoothing"}
    text = f"by {shown['weight_decay']} points and label smoothing by {shown['label_smoothing']};"
    assert f"Weight decay changes the calibration error {text}" in results
