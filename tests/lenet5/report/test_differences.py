"""Differences over images and seeds, compared with numbers computed by hand."""

import numpy as np
import pytest

from lenet5.report.differences import of_losses, over_images, over_seeds


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


def test_intervals_equal_those_computed_by_hand() -> None:
    images = np.arange(20)
    found = over_images(images < 10, (images >= 6) & (images < 11))
    assert (found["only_first_right"], found["only_second_right"], found["difference"]) == (6, 1, -25)
    # -5/22 -+ 1.959964 sqrt((8/22 - (5/22)^2) / 22)
    reach = 1.959964 * ((8 / 22 - (5 / 22) ** 2) / 22) ** 0.5
    assert found["interval"] == pytest.approx([100 * (-5 / 22 - reach), 100 * (-5 / 22 + reach)], abs=1e-3)
    # Differences of 0, 3, 4 and 5: mean 3, standard deviation sqrt(14/3), 97.5 % point with 3 degrees 3.182446.
    first, second = np.array([80.0, 81, 82, 83]), np.array([80.0, 84, 86, 88])
    spread = (14 / 3 / 4) ** 0.5
    normal = of_losses(first, second)
    assert normal["difference"] == over_seeds(first, second)["difference"] == 3
    assert normal["interval"] == pytest.approx([3 - 1.959964 * spread, 3 + 1.959964 * spread], abs=1e-5)
    assert over_seeds(first, second)["interval"] == pytest.approx(
        [3 - 3.182446 * spread, 3 + 3.182446 * spread], abs=1e-5
    )
