"""The analysis of the test images, on small examples and on the study's own replicates."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lenet5.data.dataset import Data, Split
from lenet5.support.params import CLASS_NAMES
from replication.analysis.plan import load_plan
from replication.analysis.results import read_replicates
from replication.confirmation.files import read_confirmation
from replication.images.analysis import (
    about_duplicates,
    about_missed,
    by_class,
    by_tenth,
    in_halves,
    missed_by_technique,
    nearest,
    tenths,
)
from tests.conftest import ROOT
from tests.documents import estimate, metrics, words
from tests.replication.test_analyse import replicates

COMMITTED: dict[str, Any] = metrics("replication/images")


def split(*values: int) -> Split:
    """Return images of one pixel value each, 28 x 28 in a black frame."""
    images = torch.zeros(len(values), 1, 32, 32, dtype=torch.uint8)
    images[:, :, 2:-2, 2:-2] = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Split(images, torch.arange(len(values)))


def test_the_nearest_image_is_of_the_training_or_validation_set() -> None:
    distances, places = nearest(Data(split(10, 50), split(200, 50), split(53, 200, 0, 30)))
    assert distances.tolist() == [3, 0, 10, 20]
    assert places.tolist() == [1, 2, 0, 0]  # of two equal images, or equally near ones, the first
    about = about_duplicates(distances, np.array([1, 2, 0, 0]), np.array([7, 3, 0, 0]))
    assert about["identical"] == 1
    assert (about["near_duplicates"], about["near_duplicates_with_another_label"]) == (2, 2)
    assert about["nearest_has_the_same_label"] == 0.5
    assert (about["distance_quantiles"]["0.0"], about["distance_quantiles"]["0.5"]) == (0, 6.5)


def test_an_images_tenth_is_counted_within_its_class() -> None:
    labels = np.repeat([0, 1], 20)
    distances = np.concatenate([np.arange(20)[::-1], 100 + np.arange(20)]).astype(float)
    assert tenths(distances, labels).tolist() == [*np.repeat(np.arange(10), 2)[::-1], *np.repeat(np.arange(10), 2)]


def test_halves_tenths_and_classes_agree_with_a_hand_count() -> None:
    tenth = np.array([0, 4, 5, 9])
    baseline = replicates([[True, False, True, False], [True, True, False, False]])
    ours = replicates([[True, True, True, True], [True, False, True, False]])
    techniques = {"baseline": baseline, "other": ours}
    halves = in_halves(techniques, tenth)
    assert (halves["baseline"]["near"]["mean"], halves["baseline"]["far"]["mean"]) == (75, 25)
    compared = halves["other"]["against_baseline"]
    assert [compared[part]["difference"] for part in ("near", "far", "far_minus_near")] == [0, 50, 50]
    assert by_tenth({"other": ours}, np.arange(4))["other"] == [100, 50, 100, 50, *[None] * 6]
    classes = by_class(techniques, np.array([0, 0, 1, 1]), ("shoe", "bag", "none"))
    assert {name: each["difference"] for name, each in classes["other"].items()} == {"shoe": 0, "bag": 50}


def test_images_that_all_networks_miss_agree_with_a_hand_count() -> None:
    baseline = {0.1: replicates([[True, False, False, False]]), 0.2: replicates([[False, False, True, False]] * 2)}
    other = replicates([[False, True, False, False], [False, True, False, False]])
    missed = missed_by_technique({rate: {"baseline": ours, "other": other} for rate, ours in baseline.items()})
    assert {name: of.tolist() for name, of in missed.items()} == {
        "baseline": [False, True, False, True],
        "other": [True, False, True, True],
    }
    about = about_missed(missed, np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), ("shoe", "bag"))
    assert about.pop("count_by_technique") == {"baseline": 2, "other": 3}
    assert about == {"count": 1, "by_class": {"shoe": 0, "bag": 1}, "nearest_has_another_label": 1, "images": [3]}
    assert about_missed({}, np.array([0]), np.array([0]), ("shoe",))["images"] == []


def test_the_committed_analysis_of_images_is_of_the_replicates() -> None:
    plan = load_plan(ROOT / "replication/params.yaml")
    seeds = {"earlier": read_replicates(plan), "fresh": read_confirmation(plan)[0]}
    labels = pd.read_csv(ROOT / "metrics/predictions/baseline.csv")["label"].to_numpy()
    assert COMMITTED["by_seeds_and_learning_rate"].keys() == seeds.keys()
    for of, by_rate in seeds.items():
        for rate, techniques in by_rate.items():
            expected = COMMITTED["by_seeds_and_learning_rate"][of][str(rate)]["difference_by_class"]
            for technique, classes in by_class(techniques, labels, CLASS_NAMES).items():
                for name, result in classes.items():
                    assert result["difference"] == pytest.approx(expected[technique][name]["difference"])
                    assert result["interval"] == pytest.approx(expected[technique][name]["interval"])
    by_technique = missed_by_technique(*seeds.values())
    missed = np.flatnonzero(np.all(list(by_technique.values()), axis=0))
    assert missed.tolist() == COMMITTED["missed_by_all"]["images"]


def class_differences(of: str) -> dict[tuple[str, str, str], Any]:
    """Return the differences by learning rate, technique and class over these seeds."""
    return {
        (rate, technique, name): result
        for rate, of_rate in COMMITTED["by_seeds_and_learning_rate"][of].items()
        for technique, classes in of_rate["difference_by_class"].items()
        for name, result in classes.items()
    }


def excluding_zero(differences: dict[tuple[str, str, str], Any]) -> set[tuple[str, str, str]]:
    return {cell for cell, result in differences.items() if np.prod(result["interval"]) > 0}


def test_what_the_results_say_of_the_images_follows_from_this() -> None:
    results, duplicates, missed = words("docs/results.md"), COMMITTED["duplicates"], COMMITTED["missed_by_all"]
    assert duplicates["identical"] == duplicates["near_duplicates_with_another_label"] == 0
    assert f"{duplicates['near_duplicates']} of 10,000 differ from the nearest one by less than" in results
    fresh = COMMITTED["by_seeds_and_learning_rate"]["fresh"]
    of_baseline = [fresh["0.001"]["accuracy_in_halves"]["baseline"][half] for half in ("near", "far")]
    near, far = (f"{of['mean']:.1f} % ({of['interval'][0]:.1f} to {of['interval'][1]:.1f})" for of in of_baseline)
    assert f"the baseline at 0.001 reaches {near}, on the other half {far}." in results
    apart = {
        (name, rate): of_rate["accuracy_in_halves"][name]["against_baseline"]["far_minus_near"]
        for rate, of_rate in fresh.items()
        for name in ("batch_norm", "dropout", "weight_decay")
    }
    shown = [("batch_norm", "0.001"), ("dropout", "0.001"), ("batch_norm", "0.01")]
    assert [cell for cell, of in apart.items() if np.prod(of["interval"]) > 0] == shown
    low, of_dropout, high = (estimate(apart[cell]) for cell in shown)
    assert f"by {low} at 0.001 and by {high} at 0.01, and so does dropout at 0.001, by {of_dropout};" in results
    for of_rate in fresh.values():
        near, far = (100 - of_rate["accuracy_in_halves"]["baseline"][half]["mean"] for half in ("near", "far"))
        assert round(far / near) == 2  # "twice as many errors"
    cells, earlier = class_differences("fresh"), excluding_zero(class_differences("earlier"))
    assert f"{len(excluding_zero(cells))} of {len(cells)} differences, of three techniques at two rates" in results
    assert "Five of the eight that ten earlier seeds showed are among them" in results
    assert (len(earlier & excluding_zero(cells)), len(earlier)) == (5, 8)
    largest = sorted(cells, key=lambda cell: -abs(cells[cell]["difference"]))[:2]
    assert largest == [("0.01", "batch_norm", "Shirt"), ("0.01", "batch_norm", "Pullover")]
    shirts, pullovers = (estimate(cells[cell], 1) for cell in largest)
    assert f"at 0.01, are {shirts} points on shirts and {pullovers} on pullovers." in results
    assert f"misclassify the same {missed['count']} test images; the 80 networks of a" in results
    other = 100 * (1 - duplicates["nearest_has_the_same_label"])
    of_technique = missed["count_by_technique"].values()
    assert f"technique have {min(of_technique)} to {max(of_technique)} such images in common." in results
    assert f"{missed['by_class']['Shirt']} of the {missed['count']} are labelled as shirts" in results
    assert f"For {missed['nearest_has_another_label']} of the {missed['count']}, the nearest" in results
    assert f"as it has for {other:.0f} % of all test images" in results
