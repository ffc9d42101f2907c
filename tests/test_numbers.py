"""README.md and docs/: the numbers and the main statements about results follow from metrics/."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from commands.compare import compare, sentences
from commands.revisions import Revision
from lenet5 import load_params
from replication.replicate import SHORT_EPOCHS, SHORT_IMAGES
from tests.conftest import ROOT
from tests.documents import by_cell, compared, distinguished, estimate, metrics, words


def test_the_tables_are_those_that_the_pipelines_wrote() -> None:
    assert (ROOT / "metrics/replication/fresh_seeds.md").read_text() in (ROOT / "README.md").read_text()
    for name in ("replication.md", "confirmation.md", "replication/exercise.md", "recipes.md", "recipes/search.md"):
        for table in (ROOT / "metrics" / name).read_text().rstrip().split("\n\n"):
            assert f"\n\n{table.rstrip()}\n\n" in (ROOT / "docs/results.md").read_text()
    assert (ROOT / "metrics/summary.md").read_text() in (ROOT / "docs/results.md").read_text()
    assert (ROOT / "metrics/summary.md").read_text() in (ROOT / "models/README.md").read_text()
    theory = (ROOT / "docs/theory.md").read_text()
    for check in metrics("theory")["checks"]:
        cells = (check[key] for key in ("name", "compared", "max_difference", "result"))
        assert f"\n| {' | '.join(cells)} |\n" in theory
    design = words("docs/design.md")
    for row in metrics("summary")["techniques"]:
        assert f"{row['parameters']:,} parameters" in design or f"{row['parameters']:,} with" in design


VERDICTS = {
    ("batch_norm", 0.001): "helps",
    ("dropout", 0.001): "helps",
    ("weight_decay", 0.001): "helps",
    ("batch_norm", 0.01): "helps",
    ("dropout", 0.01): "hurts",
    ("weight_decay", 0.01): "hurts",
}


def test_the_readmes_answers_are_those_of_the_analysis() -> None:
    readme, fresh, rows = words("README.md"), metrics("confirmation"), compared("confirmation")
    for name in ("confirmation", "replication"):
        assert {cell: of["verdict"] for cell, of in compared(name).items()} == VERDICTS
    assert len(fresh["seeds"]) == 30 and {of["n"] for of in rows.values()} == {30}
    assert all(row["confirmed"] for row in fresh["results"] if row["against_baseline"])
    preferred = fresh["preferred_by_validation"]
    cases = f"than at 0.01 in {preferred['0.001']} of {sum(preferred.values())} cases"
    assert cases in readme and cases in words("docs/results.md")
    helped = [rows[name, rate]["difference"] for name, rate in VERDICTS if rate == 0.001]
    assert f"all three techniques help, by {min(helped):.2f} to {max(helped):.2f} points" in readme
    assert len(VERDICTS) - len(distinguished("confirmation", corrected=True)) == 4
    assert "Another training set could change four of the six verdicts" in readme
    summary = {row["technique"]: row for row in metrics("summary")["techniques"]}
    p_values = {f"{summary[name]['mcnemar_p_holm']:.3f}" for name in ("dropout", "weight_decay")}
    assert f"Holm-corrected p = {p_values.pop()})" in readme and not p_values
    assert f"{metrics('benchmark')['seconds']['study'] / 60:.1f} minutes on two cores" in readme


def test_what_seed_0_decides_is_that_of_the_analysis() -> None:
    without = metrics("replication")["verdicts_without_seed_0"]
    found = {(name, rate) for rate, of_rate in without.items() for name in of_rate if of_rate[name] == "open"}
    assert found == {("dropout", "0.001"), ("dropout", "0.01"), ("weight_decay", "0.001")}
    assert "dropout is open at both rates and weight decay at 0.001" in words("docs/results.md")


def test_the_share_of_errors_with_shirts_is_that_of_the_results() -> None:
    pairs = {frozenset(("Shirt", other)) for other in ("T-shirt/top", "Pullover", "Coat")}
    shares = []
    for path in sorted((ROOT / "metrics/confusion").glob("*.csv")):
        errors = pd.read_csv(path).query("actual != predicted")
        similar = [frozenset(pair) in pairs for pair in zip(errors["actual"], errors["predicted"], strict=True)]
        shares.append(100 * errors["count"][similar].sum() / errors["count"].sum())
    text = f"{min(shares):.0f} to {max(shares):.0f} %, confuse shirts with T-shirts, pullovers or coats"
    assert text in words("docs/results.md")


def test_the_power_in_the_plan_is_that_of_the_analysis() -> None:
    power = metrics("replication")["power_of_confirmation"]
    lowest, highest = power["0.01"]["dropout"], power["0.01"]["batch_norm"]
    every = [value for of_rate in power.values() for value in of_rate.values()]
    assert (min(every), max(every)) == (lowest, highest)
    text = f"{lowest:.2f} (dropout at 0.01) to {highest:g} (batch normalisation at 0.01)"
    assert text in words("docs/analysis-plan.md")


def test_what_is_said_of_ten_seeds_follows_from_the_analysis() -> None:
    results, replication, rows = words("docs/results.md"), metrics("replication"), compared("replication")
    assert all(estimate(of) in results for of in rows.values())
    preferred = replication["preferred_by_validation"]
    assert f"0.01 in {preferred['0.001']} of {sum(preferred.values())} cases." in results
    of_rates = [replication["across_rates"][name] for name in ("batch_norm", "dropout", "weight_decay")]
    paired = [estimate(of["gain_minus_difference"]) for of in of_rates]
    text = f"{paired[0]} points for batch normalisation, {paired[1]} for dropout and {paired[2]} for weight decay"
    assert f"The paired differences are {text}" in results
    assert all(np.prod(of["gain_minus_difference"]["interval"]) < 0 for of in of_rates)
    for name, of in zip(("batch normalisation", "dropout", "weight decay"), of_rates, strict=True):
        p_value = f"\\(p = {of['interaction']['sign_flip_p_holm']:.3f}"
        assert re.search(f"{re.escape(estimate(of['interaction']))}[a-z ]* for {name} {p_value}", results)
    decays = [compared(of)["weight_decay", 0.01] for of in ("replication", "confirmation")]
    (error, loss), fresh = ([of[name]["seeds_lower"] for name in ("calibration_error", "test_loss")] for of in decays)
    text = f"calibration error with {error} of 10 seeds and the test loss with {loss} of 10; with the fresh seeds,"
    assert f"{text} {fresh[0]} and {fresh[1]} of 30." in results
    assert distinguished("replication") == [("batch_norm", 0.01)]
    low, high = rows["batch_norm", 0.01]["interval_new_training"]
    assert f"only that of batch normalisation at 0.01, {low:+.2f} to {high:+.2f}" in results
    assert f"in {100 * replication['share_baseline_first_of_those_that_hurt']['0.01']:.0f} % of draws" in results
    kept = {row["technique"]: row["chosen_epoch"] for row in metrics("summary")["techniques"]}
    assert all(epoch <= 15 for name, epoch in kept.items() if name != "weight_decay") and kept["weight_decay"] > 15
    for name in kept:  # "after that, their validation loss rises"
        losses = pd.read_csv(ROOT / f"metrics/curves/{name}.csv")["validation_loss"]
        assert losses[-10:].mean() > 1.05 * losses.min()
        wrong = pd.read_csv(ROOT / f"metrics/predictions/{name}.csv").query("label != predicted")
        assert wrong["probability"].max() > 0.99  # "assigns a probability near 1 to some wrong classes"


def test_what_is_said_of_the_recipes_follows_from_their_runs() -> None:
    readme, results, recipes = words("README.md"), words("docs/results.md"), metrics("recipes")
    plain, augmented = recipes["final"]
    assert (plain["augmented"], augmented["augmented"]) == (False, True)
    accuracies = [row["test_accuracy"] for row in (plain, augmented)]
    reached = ["{:.2f} % ({:.2f} to {:.2f})".format(of["mean"], *of["interval"]) for of in accuracies]
    assert all(f"**: {each} on the test images, with" in results for each in reached)
    assert f"reach {reached[0]} and, with augmented images, {reached[1]}." in readme
    search = {row["recipe"]: row for row in recipes["search"]}
    parts = {"dropout": "dropout", "smoothing": "label smoothing", "decay": "weight decay"}
    parts |= {"batch_norm": "batch normalisation", "schedule": "the cosine schedule"}
    for part, name in parts.items():
        left_out = search[f"plain_without_{part}"]["against_chosen"]
        assert re.search(f"{re.escape(estimate(left_out))}( points)? for {name}", results)
        assert left_out["interval"][1] < 0  # "is lower without any one of five parts"
    without = [search[f"augmented_without_{part}"]["against_chosen"] for part in ("batch_norm", "decay", "schedule")]
    changes = [estimate(of) for of in without]
    text = (
        f"by {changes[0]} points, without weight decay by {changes[1]} and without the cosine schedule by {changes[2]}."
    )
    assert f"without batch normalisation, it changes {text}" in results
    assert all(of["interval"][1] < 0 for of in without)
    unclear = ("without_erasing", "80_epochs", "80_epochs_without_erasing")
    of_unclear = [search[f"augmented_{part}"]["against_chosen"] for part in unclear]
    changes = [estimate(of) for of in of_unclear]
    text = f"it changes by {changes[0]} points, with 80 epochs instead of 160 by {changes[1]} and without both by"
    assert f"without erasing, {text} {changes[2]}." in results
    assert all(np.prod(of["interval"]) < 0 for of in of_unclear)
    described = {"batch_norm": True, "dropout": 0.3, "label_smoothing": 0.1, "optimizer": "adamw", "schedule": "cosine"}
    assert plain["settings"].items() >= described.items()
    assert not {"dropout", "label_smoothing"} & augmented["settings"].keys()
    assert augmented["settings"]["epochs"] == 2 * load_params(ROOT / "params.yaml").train.epochs


def test_what_is_said_of_the_exercise_follows_from_the_analysis() -> None:
    results, rows = words("docs/results.md"), by_cell(metrics("replication")["results"])
    share = load_params(ROOT / "params.yaml").exercise["baseline"].test / 100
    errors = [100 * (share * (1 - share) / images) ** 0.5 for images in (1615, 10_000)]
    assert "a standard error of {:.1f} points, where 10,000 images would give {:.1f}.".format(*errors) in results
    exercise = {cell: row["exercise"] for cell, row in rows.items()}
    accuracies = {name: of["test"]["accuracy"] for (name, rate), of in exercise.items() if rate == 0.01}
    order = sorted(accuracies, key=lambda name: -accuracies[name])
    assert (order[0], order[-1]) == ("dropout", "batch_norm")
    last = f"{accuracies['batch_norm']:.2f} %, baseline {accuracies['baseline']:.2f} %"
    assert f"dropout first ({accuracies['dropout']:.2f} %) and batch normalisation last ({last})" in results
    counts = metrics("replication")["exercise_counts"]
    for name, images in (("test", 10_000), ("train", 48_000)):
        batches = (counts[name]["total"] - counts[name]["start"]) // 10
        assert f"10 x {batches} + {counts[name]['start']} = {counts[name]['total']} for {images:,}" in results

    def inside(of: dict[str, Any]) -> bool:
        within = {2.5 <= of[name] <= 97.5 for name in ("percentile", "percentile_all_images")}
        assert len(within) == 1  # "no accuracy would enter or leave the range"
        return bool(within.pop())

    fits = {(key, name) for key, of in exercise.items() for name in ("test", "train") if inside(of[name])}
    assert {(name, kind) for (name, rate), kind in fits if rate == 0.01} == {
        (name, "test") for name in ("baseline", "dropout", "weight_decay")
    }
    assert exercise["batch_norm", 0.01]["test"]["percentile"] < 0.01
    assert [name for name in accuracies if {((name, 0.001), kind) for kind in ("test", "train")} <= fits] == ["dropout"]
    at = {name: f"{exercise[name, 0.01]['test']['percentile']:.1f}" for name in accuracies}
    assert f"percentile {at['dropout']} of ours" in results
    assert f"weight decay at {at['baseline']} and {at['weight_decay']}, so all three" in results
    of_dropout = [f"{exercise['dropout', 0.001][kind]['percentile']:.1f}" for kind in ("test", "train")]
    assert f"only the row of dropout fits, at percentiles {' and '.join(of_dropout)}" in results


def test_the_plan_names_the_verdicts_that_depend_on_seed_0() -> None:
    page, replication = words("docs/analysis-plan.md"), metrics("replication")
    without = {
        (name, rate): of for rate, all_ in replication["verdicts_without_seed_0"].items() for name, of in all_.items()
    }
    changed = {key for key, of in without.items() if of == "open"}
    assert changed == {("dropout", "0.001"), ("weight_decay", "0.001"), ("dropout", "0.01")}
    verdicts = f"{len(changed)} of the {len(without)} verdicts are open"
    assert f"{verdicts}: dropout and weight decay at 0.001, and dropout at 0.01" in page
    for row in replication["results"]:
        key = row["technique"], str(row["learning_rate"])
        assert key not in without or key in changed or row["against_baseline"]["verdict"] == without[key]


def test_the_fingerprint_is_described_as_it_is() -> None:
    page = words("docs/reproducibility.md")
    assert f"for {SHORT_EPOCHS} epochs on {SHORT_IMAGES[0]:,} images" in page


def test_the_comparisons_of_daily_use_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs/daily-use.md").read_text()
    sides = [Revision("workspace"), Revision("workspace")]  # as the experiments baseline and dropout
    for side, name in zip(sides, ("baseline", "dropout"), strict=True):
        side.name = side.selected = name
    first, second = sides
    assert f"```text\n{sentences(first, second, compare(first, second, None))}\n```\n" in text
    evaluations = [metrics(f"evaluation/{side.name}") for side in sides]
    shown = re.findall(r"^metrics/selected\.json  (\w+) +(\S+) +(\S+) +(\S+)$", text, re.MULTILINE)
    assert [name for name, *_ in shown] == sorted(
        name for name, value in evaluations[0].items() if isinstance(value, int | float) and name != "parameters"
    )
    for name, *numbers in shown:
        ours, theirs = (evaluation[name] for evaluation in evaluations)
        assert [float(number) for number in numbers] == [round(value, 5) for value in (ours, theirs, theirs - ours)]
