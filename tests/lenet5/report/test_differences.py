"""Differences over images and seeds. tests/commands/test_compare.py compares them with numbers computed by hand."""

import numpy as np
import pytest

from lenet5.report.differences import over_images, over_seeds


def test_the_interval_over_images_covers_95_percent() -> None:
    random = np.random.default_rng(0)
    # Both right, only the first, only the second, none: the true difference is -10 points.
    draws = random.choice(4, size=(1_000, 60), p=[0.7, 0.15, 0.05, 0.1])
    intervals = [over_images(draw < 2, draw % 2 == 0)["interval"] for draw in draws]
    assert np.mean([low <= -10 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("step", "p_value"), [(0.0, 1.0), (0.5, 0.0)])
def test_equal_differences_of_all_seeds_have_no_spread(step: float, p_value: float) -> None:
    values = np.array([88.0, 89.0, 90.0])
    assert over_seeds(values, values + step) == {"difference": step, "interval": [step, step], "p": p_value}
