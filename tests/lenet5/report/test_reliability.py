"""The reliability diagram, against values computed by hand and against the calibration error."""

import numpy as np
import pytest
import torch

from lenet5.report.metrics import expected_calibration_error
from lenet5.report.reliability import reliability


def test_each_bin_has_its_images_confidence_and_accuracy() -> None:
    # Three bins: (0, 1/3], (1/3, 2/3], (2/3, 1]. The second one has no images, and 1/3 belongs to the first one.
    table = reliability(np.array([0.1, 0.9, 1 / 3, 1.0]), np.array([True, True, False, True]), bins=3)
    assert table["images"].tolist() == [2, 2]
    assert table["confidence"].tolist() == pytest.approx([(0.1 + 1 / 3) / 2, 0.95])
    assert table["accuracy"].tolist() == [0.5, 1.0]
    # Wilson's interval of k of n: (k + z²/2 ± z √(k (n - k) / n + z²/4)) / (n + z²), here with z² = 3.8415.
    assert table["low"].tolist() == pytest.approx([0.0945, 0.3424], abs=5e-5)
    assert table["high"].tolist() == pytest.approx([0.9055, 1.0], abs=5e-5)


def test_the_gaps_of_the_bins_give_the_calibration_error() -> None:
    random = np.random.default_rng(0)
    confidences = np.append(random.uniform(0.1, 1, 1000), [0.2, 0.4, 0.6, 1.0])  # also on borders of bins
    correct = random.random(len(confidences)) < confidences**2
    table = reliability(confidences, correct)
    gaps = table["images"] * (table["accuracy"] - table["confidence"]).abs()
    expected = expected_calibration_error(torch.from_numpy(confidences), torch.from_numpy(correct))
    assert gaps.sum() / len(confidences) == pytest.approx(expected)
