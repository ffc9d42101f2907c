"""The metrics of a trained network."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lenet5 import CLASS_NAMES, Data, Split
from lenet5.network.model import LeNet5
from lenet5.report.metrics import (
    confusion_counts,
    evaluate,
    expected_calibration_error,
    per_class_accuracy,
    wilson_interval,
)


class Echo:
    """A network whose logits are its images."""

    def __init__(self) -> None:
        self.model = LeNet5(batch_norm=False, dropout=0.0)
        self.parameters: list[nn.Parameter] = []

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        return images[indices]


def split(labels: list[int], first: list[float]) -> Split:
    """Return images to which `Echo` gives these probabilities of class 0; the rest is that of class 1."""
    probabilities = torch.full((len(labels), len(CLASS_NAMES)), 1e-12)
    probabilities[:, 0] = torch.tensor(first)
    probabilities[:, 1] = 1 - probabilities[:, 0]
    return Split(probabilities.log(), torch.tensor(labels))


def test_an_evaluation_has_the_metrics_of_each_split() -> None:
    data = Data(
        split([0, 1, 0], [0.9, 0.9, 0.6]), split([0, 1], [0.8, 0.3]), split([0, 1, 0, 1], [0.51, 0.54, 0.81, 0.3])
    )
    metrics, predictions, confusion = evaluate(Echo(), data, CLASS_NAMES)
    assert metrics.pop("test_accuracy_interval") == wilson_interval(3, 4)
    assert metrics.pop("test_accuracy_by_class") == [
        {"class": CLASS_NAMES[0], "accuracy": 1.0},
        {"class": CLASS_NAMES[1], "accuracy": 0.5},
    ]
    # Of the 15 bins of the calibration error, the test images are in four.
    assert metrics == pytest.approx(
        {
            "train_loss": -math.log(0.9 * 0.1 * 0.6) / 3,
            "train_accuracy": 2 / 3,
            "validation_loss": -math.log(0.8 * 0.7) / 2,
            "validation_accuracy": 1.0,
            "test_loss": -math.log(0.51 * 0.46 * 0.81 * 0.7) / 4,
            "test_accuracy": 0.75,
            "test_calibration_error": (0.49 + 0.54 + 0.19 + 0.3) / 4,
        },
        abs=1e-6,
    )
    losses = [-math.log(probability) for probability in (0.51, 0.46, 0.81, 0.7)]
    assert predictions.pop("loss").tolist() == pytest.approx(losses, abs=1e-6)
    assert predictions.to_dict("list") == {
        "image": [0, 1, 2, 3],
        "label": [0, 1, 0, 1],
        "predicted": [0, 0, 0, 1],
        "probability": [0.51, 0.54, 0.81, 0.7],
    }
    counted = confusion[confusion["count"] > 0]
    assert counted["actual"].tolist() == [CLASS_NAMES[0], CLASS_NAMES[1], CLASS_NAMES[1]]
    assert counted["predicted"].tolist() == [CLASS_NAMES[0], CLASS_NAMES[0], CLASS_NAMES[1]]
    assert counted["count"].tolist() == [2, 1, 1]


def test_the_wilson_interval_equals_published_values() -> None:
    # Newcombe, Stat. Med. 17 (1998), table I: 81 of 263, score method without continuity correction.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)
    low, high = wilson_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(0.1611, abs=5e-5)


def test_the_gap_of_each_calibration_bin_is_weighted_by_its_size() -> None:
    confidences = torch.tensor([0.95, 0.95, 0.95, 0.55], dtype=torch.float64)
    correct = torch.tensor([True, True, False, True])
    # The bin of 0.95 has 3 images with accuracy 2/3, that of 0.55 one with accuracy 1.
    expected = (3 * abs(2 / 3 - 0.95) + abs(1 - 0.55)) / 4
    assert expected_calibration_error(confidences, correct, bins=10) == pytest.approx(expected)


def test_a_model_that_is_certain_and_correct_is_calibrated() -> None:
    assert expected_calibration_error(torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.bool)) == 0


def test_the_first_calibration_bin_holds_the_lowest_confidences() -> None:
    confidences = torch.tensor([0.0, 0.04, 0.1, 0.11], dtype=torch.float64)
    correct = torch.tensor([False, True, False, False])
    expected = (abs(1 - 0.14) + 0.11) / 4
    assert expected_calibration_error(confidences, correct, bins=10) == pytest.approx(expected)


def test_a_class_without_images_has_no_accuracy() -> None:
    labels, predicted = torch.tensor([1, 1, 3]), torch.tensor([1, 3, 1])
    expected = [{"class": CLASS_NAMES[1], "accuracy": 0.5}, {"class": CLASS_NAMES[3], "accuracy": 0.0}]
    assert per_class_accuracy(labels, predicted, CLASS_NAMES) == expected


def test_a_prediction_above_or_below_the_label_is_wrong() -> None:
    test = split([0, 1, 1], [0.25, 0.7654321, 0.1])  # predicted: 1, 0, 1
    metrics, predictions, _confusion = evaluate(Echo(), Data(test, test, test), CLASS_NAMES)
    assert metrics["test_accuracy_interval"] == wilson_interval(1, 3)
    assert metrics["test_calibration_error"] == pytest.approx((0.75 + 0.7654321 + 0.1) / 3, abs=1e-6)
    assert predictions["probability"].tolist() == [0.75, 0.765432, 0.9]
    assert predictions["loss"].tolist() == [1.386294, 1.45001, 0.105361]  # ln 4, ln 4.263158, ln 1.111111


def test_confusion_counts_every_pair_of_classes() -> None:
    labels, predicted = torch.tensor([0, 0, 1, 9]), torch.tensor([0, 1, 1, 8])
    table = confusion_counts(labels, predicted, CLASS_NAMES)
    assert len(table) == 100
    counted = table[table["count"] > 0].set_index(["actual", "predicted"])["count"].to_dict()
    top, trouser, bag, boot = (CLASS_NAMES[number] for number in (0, 1, 8, 9))
    assert counted == {(top, top): 1, (top, trouser): 1, (trouser, trouser): 1, (boot, bag): 1}


def test_balanced_per_class_accuracies_average_to_the_accuracy() -> None:
    random = np.random.default_rng(0)
    labels = torch.arange(10).repeat(7)
    predicted = torch.from_numpy(random.integers(0, 10, 70))
    accuracies = [entry["accuracy"] for entry in per_class_accuracy(labels, predicted, CLASS_NAMES)]
    assert np.mean(accuracies) == pytest.approx(float((labels == predicted).double().mean()))
