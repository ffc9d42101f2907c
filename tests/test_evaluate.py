import math

import numpy as np
import pytest
import torch
from stages.dataset import CLASS_NAMES

from lenet5.network.inference import loss_and_accuracy
from stages.evaluate import confusion_counts, expected_calibration_error, per_class_accuracy, wilson_interval


def test_the_wilson_interval_is_the_textbooks() -> None:
    # Newcombe, Stat. Med. 17 (1998), table I: 81 of 263, score method without continuity correction.
    assert wilson_interval(81, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)
    low, high = wilson_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(0.1611, abs=5e-5)


def test_loss_and_accuracy_of_a_hand_computed_case() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([1, 1]))
    assert loss == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert accuracy == 0.5


def test_calibration_error_weighs_the_gap_of_each_bin_by_its_images() -> None:
    confidences = torch.tensor([0.95, 0.95, 0.95, 0.55], dtype=torch.float64)
    correct = torch.tensor([True, True, False, True])
    # Bin of 0.95: 3 images, accuracy 2/3; bin of 0.55: one, accuracy 1.
    expected = (3 * abs(2 / 3 - 0.95) + abs(1 - 0.55)) / 4
    assert expected_calibration_error(confidences, correct, bins=10) == pytest.approx(expected)


def test_a_sure_and_right_model_is_perfectly_calibrated() -> None:
    assert expected_calibration_error(torch.ones(5, dtype=torch.float64), torch.ones(5, dtype=torch.bool)) == 0


def test_confusion_counts_every_pair_of_classes() -> None:
    labels, predicted = torch.tensor([0, 0, 1, 9]), torch.tensor([0, 1, 1, 8])
    table = confusion_counts(labels, predicted)
    assert len(table) == 100
    counted = table[table["count"] > 0].set_index(["actual", "predicted"])["count"].to_dict()
    top, trouser, bag, boot = (CLASS_NAMES[number] for number in (0, 1, 8, 9))
    assert counted == {(top, top): 1, (top, trouser): 1, (trouser, trouser): 1, (boot, bag): 1}


def test_per_class_accuracies_average_to_the_accuracy_of_balanced_classes() -> None:
    random = np.random.default_rng(0)
    labels = torch.arange(10).repeat(7)
    predicted = torch.from_numpy(random.integers(0, 10, 70))
    accuracies = [entry["accuracy"] for entry in per_class_accuracy(labels, predicted)]
    assert np.mean(accuracies) == pytest.approx(float((labels == predicted).double().mean()))
