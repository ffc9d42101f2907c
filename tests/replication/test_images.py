"""The analysis of the test images, on small examples and on the study's own replicates."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lenet5.data.dataset import Data, Split
from lenet5.support.params import CLASS_NAMES
from replication.analysis.plan import load_plan
from replication.analysis.results import read_replicates
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
from tests.documents import estimate, words
from tests.replication.test_analyse import replicates

COMMITTED: dict[str, Any] = json.loads((ROOT / "metrics/replication/images.json").read_text())


def split(*values: int) -> Split:
    """Return images of one pixel value each, 28 x 28 in a black frame."""
    images = torch.zeros(len(values), 1, 32, 32, dtype=torch.uint8)
    images[:, :, 2:-2, 2:-2] = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return Split(images, torch.arange(len(values)))


def test_the_nearest_image_is_of_the_training_or_validation_set() -> None:
    distances, places = nearest(Data(split(10, 50), split(200, 50), split(53, 200, 0, 30)))
    assert distances.tolist() == [3, 0, 10, 20]
    assert places.tolist() == [1, 2, 0, 0]  # of two equal images, or equally near ones, the first
    about = about_duplicates(distances, np.array([1, 2, 0, 0]), np.array([7, 2, 0, 0]))
    assert about["identical"] == 1
    assert (about["near_duplicates"], about["near_duplicates_with_another_label"]) == (2, 1)
    assert about["nearest_has_the_same_label"] == 0.75
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
    found = read_replicates(load_plan(ROOT / "replication/params.yaml"))
    labels = pd.read_csv(ROOT / "metrics/predictions/baseline.csv")["label"].to_numpy()
    for rate, techniques in found.items():
        expected = COMMITTED["by_learning_rate"][str(rate)]["difference_by_class"]
        for technique, classes in by_class(techniques, labels, CLASS_NAMES).items():
            for name, result in classes.items():
                assert result["difference"] == pytest.approx(expected[technique][name]["difference"])
                assert result["interval"] == pytest.approx(expected[technique][name]["interval"])
    by_technique = missed_by_technique(found)
    missed = np.flatnonzero(np.all(list(by_technique.values()), axis=0))
    assert missed.tolist() == COMMITTED["missed_by_all"]["images"]


def test_what_the_results_say_of_the_images_follows_from_this() -> None:
    results, duplicates, missed = words("docs/results.md"), COMMITTED["duplicates"], COMMITTED["missed_by_all"]
    assert duplicates["identical"] == duplicates["near_duplicates_with_another_label"] == 0
    assert f"{duplicates['near_duplicates']} of 10,000 differ from the nearest one by less than" in results
    low, high = (COMMITTED["by_learning_rate"][rate] for rate in ("0.001", "0.01"))
    of_baseline = [low["accuracy_in_halves"]["baseline"][half] for half in ("near", "far")]
    near, far = (f"{of['mean']:.1f} % ({of['interval'][0]:.1f} to {of['interval'][1]:.1f})" for of in of_baseline)
    assert f"the baseline at 0.001 reaches {near}, on the other half {far}" in results
    apart = {
        (name, rate): of["accuracy_in_halves"][name]["against_baseline"]["far_minus_near"]
        for rate, of in COMMITTED["by_learning_rate"].items()
        for name in ("batch_norm", "dropout", "weight_decay")
    }
    assert {name for (name, _), of in apart.items() if np.prod(of["interval"]) > 0} == {"batch_norm"}
    first, second = (estimate(apart["batch_norm", rate]) for rate in ("0.001", "0.01"))
    assert f"by {first} points more than on the near half at 0.001, and by {second} at 0.01" in results
    removed = []
    for of_rate in (low, high):
        halves = of_rate["accuracy_in_halves"]
        errors = {half: 100 - halves["baseline"][half]["mean"] for half in ("near", "far")}
        gains = halves["batch_norm"]["against_baseline"]
        removed += [f"{100 * gains[half]['difference'] / errors[half]:.1f} %" for half in ("near", "far")]
    text = f"{removed[2]} of them on the near half and {removed[3]} on the far half, at 0.001 {removed[0]} and"
    assert f"removes {text} {removed[1]}." in results
    assert round(errors["far"] / errors["near"], 1) == 2.1  # "twice as many"
    differences = [
        result
        for rate in COMMITTED["by_learning_rate"].values()
        for classes in rate["difference_by_class"].values()
        for result in classes.values()
    ]
    excluded = sum(np.prod(result["interval"]) > 0 for result in differences)
    assert (excluded, len(differences)) == (8, 60) and "Eight of 60 differences" in results
    shirts = estimate(high["difference_by_class"]["weight_decay"]["Shirt"], 1)
    pullovers = estimate(high["difference_by_class"]["batch_norm"]["Pullover"], 1)
    text = f"on shirts by {shirts} points, and batch normalisation that on pullovers by {pullovers}."
    assert f"weight decay changes the accuracy {text}" in results
    assert f"misclassify the same {missed['count']} test images; the 20 networks of a" in results
    other = 100 * (1 - duplicates["nearest_has_the_same_label"])
    of_technique = missed["count_by_technique"].values()
    assert f"technique have {min(of_technique)} to {max(of_technique)} such images in common." in results
    assert f"{missed['by_class']['Shirt']} of the {missed['count']} are labelled as shirts" in results
    assert f"For {missed['nearest_has_another_label']} of the {missed['count']}, the nearest" in results
    assert f"as it has for {other:.0f} % of all test images" in results
