"""README.md and docs/results.md: what they state about the fresh seeds follows from metrics/confirmation.json."""

import re
from typing import Any

from tests.documents import by_cell, compared, distinguished, estimate, metrics, words


def new_training(of: dict[str, Any]) -> str:
    return "({:+.2f} to {:+.2f})".format(*of["interval_new_training"])


def test_what_is_said_of_fresh_seeds_follows_from_them() -> None:
    results, fresh, rows = words("docs/results.md"), metrics("confirmation"), compared("confirmation")
    assert all(estimate(of) in results for of in rows.values())
    across = fresh["across_rates"]
    for name, of in across.items():
        technique = name.replace("_", " ").replace("norm", "normalisation")
        assert re.search(f"{re.escape(estimate(of['interaction']))}[a-z ]* for {technique} \\(p < 0.001", results)
        assert of["interaction"]["sign_flip_p_holm"] < 0.001
        assert f"{estimate(of['gain_minus_difference'])} more than {technique}" in results
        assert of["gain_minus_difference"]["interval"][0] > 0
    assert f"there**: {estimate(across['dropout']['baseline_gain'])} points" in results
    names = ("dropout", "weight_decay", "batch_norm")
    changed = [new_training(across[name]["interaction"]) for name in names]
    assert f"For another training set, these intervals are {changed[0]}, {changed[1]} and {changed[2]}." in results
    gains = [new_training(across["dropout"]["baseline_gain"])]
    gains += [new_training(across[name]["gain_minus_difference"]) for name in ("batch_norm", "dropout", "weight_decay")]
    assert f"For another training set, these intervals are {', '.join(gains[:3])} and {gains[3]}." in results
    low = [rows[name, 0.001]["test_loss"] for name in ("batch_norm", "dropout", "weight_decay")]
    (batch_norm, dropout, decay), seeds = (estimate(of, 4) for of in low), sorted(of["seeds_lower"] for of in low)
    text = f"batch normalisation by {batch_norm}, dropout by {dropout} and weight decay by {decay}, with"
    assert f"each technique lowers the test loss: {text} {seeds[0]} to {seeds[2]} of 30 seeds." in results
    assert all(of["interval"][1] < 0 for of in low)
    loss, calibration = (
        {name: rows[name, 0.01][of] for name in ("batch_norm", "dropout", "weight_decay")}
        for of in ("test_loss", "calibration_error")
    )
    of_loss = {name: estimate(of, 4) for name, of in loss.items()}
    text = f"by {of_loss['batch_norm']} and dropout by {of_loss['dropout']}; the change by weight decay is borderline,"
    assert f"{text} {of_loss['weight_decay']} with {loss['weight_decay']['seeds_lower']} of 30 seeds lower" in results
    of_decay, dropout = calibration["weight_decay"], estimate(calibration["dropout"])
    assert f"with {of_decay['seeds_lower']} of 30 seeds, {estimate(of_decay)} points on average, and dropout" in results
    at_low = [estimate(rows[name, 0.001]["calibration_error"]) for name in ("weight_decay", "dropout")]
    assert f"by {dropout}; at 0.001, they change it by {at_low[0]} and {at_low[1]}." in results
    raised = [estimate(rows["batch_norm", rate]["calibration_error"]) for rate in (0.001, 0.01)]
    assert f"raises the calibration error: {raised[0]} points at 0.001 and {raised[1]} at 0.01" in results
    cells = [("batch_norm", 0.01), ("dropout", 0.001), ("dropout", 0.01)]
    assert sorted(distinguished("confirmation")) == cells
    assert sorted(distinguished("confirmation", corrected=True)) == cells[:2]
    open_too = set(cells[:2]) - set(distinguished("confirmation", corrected=True, ratio=12_000 / 48_000))
    assert open_too == {("dropout", 0.001)} and "0.25, dropout at 0.001 would be open too." in results
    bounds = [new_training(rows[cell]) for cell in cells]
    assert f"at 0.01 {bounds[0]} and of dropout at 0.001 {bounds[1]} and at 0.01 {bounds[2]}." in results


def test_what_is_said_of_the_kept_epoch_follows_from_the_runs() -> None:
    results = words("docs/results.md")
    rows = by_cell(metrics("confirmation")["rules_of_selection"])
    baseline, *of_techniques = (rows[name, 0.001] for name in ("baseline", "batch_norm", "dropout", "weight_decay"))
    batch_norm, dropout, decay = (estimate(of["validation_accuracy"]["against_baseline"]) for of in of_techniques)
    gain, loss = (estimate(of["validation_accuracy"]) for of in (baseline, of_techniques[2]))
    assert f"its difference from the baseline is {decay} points: the baseline gains {gain} points from" in results
    assert f"weight decay does not gain, {loss}. Batch normalisation and dropout keep" in results
    assert f"keep their leads, {batch_norm} and {dropout}." in results
    low, high = of_techniques[2]["validation_accuracy"]["against_baseline"]["interval"]
    assert low < 0 < high and f"vanishes, {decay}, if the epoch of highest validation accuracy" in words("README.md")
    last = [estimate(of["last_epoch"]["against_baseline"]) for of in of_techniques]
    assert f"dropout are larger, {last[0]} and {last[1]}." in results
    changes = [estimate(of["last_epoch"]) for of in (baseline, of_techniques[1])]
    assert f"by then, {changes[0]} points, while dropout has gained, {changes[1]}." in results
    assert f"The lead of weight decay is {last[2]}." in results
    decays, dropouts = (
        [estimate(rows[name, 0.01][rule]["against_baseline"]) for rule in ("validation_accuracy", "last_epoch")]
        for name in ("weight_decay", "dropout")
    )
    assert f"weight decay hurts more, {decays[0]} and {decays[1]}." in results
    assert f"of dropout is {dropouts[0]} at the highest validation accuracy" in results
    assert f"borderline at the last epoch, {dropouts[1]}." in results
    for rule in ("validation_accuracy", "last_epoch"):  # "helps and hurts under all three rules"
        assert rows["batch_norm", 0.01][rule]["against_baseline"]["interval"][0] > 0
        assert rows["weight_decay", 0.01][rule]["against_baseline"]["interval"][1] < 0


def test_what_is_said_of_longer_training_follows_from_the_runs() -> None:
    fresh = metrics("confirmation")
    longer = fresh["longer_training"]["result"]
    medians = [longer[name]["median"] for name in ("chosen_epoch", "chosen_epoch_of_usual")]
    gain = longer["test_accuracy"]
    text = f"is {medians[0]:.0f} instead of {medians[1]:.0f}, and test accuracy changes by {estimate(gain)} points"
    assert text in words("docs/results.md") and gain["interval"][0] > 0
    epochs = by_cell(fresh["results"])["baseline", 0.001]["chosen_epoch"]
    assert f"keeps epochs {epochs['lowest']:.0f} to {epochs['highest']:.0f} at this rate" in words("docs/results.md")
