"""Augmentation of images whose pixels are all different, so that each copy shows what was done to it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.training.augmentation import CHUNK, PATCH, augment, augmented

COUNT = 2_000
# 784 pixels in 1 to 255, no two neighbours equal, padded as in the prepared data
PICTURE = F.pad(((torch.arange(28 * 28) * 101) % 255 + 1).byte().reshape(1, 1, 28, 28), (2, 2, 2, 2))
IMAGES = PICTURE.repeat(COUNT, 1, 1, 1)
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def drawn(augmentation: str, seed: int = 0) -> Tensor:
    copies = augmented(IMAGES, augmentation, torch.Generator().manual_seed(seed))
    assert (copies.dtype, copies.shape) == (IMAGES.dtype, IMAGES.shape)
    return copies


def share(copies: Tensor, image: Tensor) -> float:
    """Return the share of the copies that equal the image."""
    return float((copies == image).flatten(1).all(dim=1).double().mean())


def moved(down: int, right: int, image: Tensor = PICTURE) -> Tensor:
    """Return the image, moved within its black border, so that nothing wraps around."""
    return image.roll((down, right), (2, 3))


def test_flip_exchanges_left_and_right_in_half_of_the_images() -> None:
    copies = drawn("flip")
    assert share(copies, PICTURE.flip(3)) == pytest.approx(0.5, abs=0.04)
    assert share(copies, PICTURE) + share(copies, PICTURE.flip(3)) == 1


def test_shift_moves_by_up_to_one_pixel_and_loses_none() -> None:
    copies = drawn("shift")
    shares = [share(copies, moved(*shift)) for shift in SHIFTS]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([1 / 9] * 9, abs=0.025)


def test_flip_and_shift_are_drawn_independently() -> None:
    copies = drawn("flip_shift")
    shares = [share(copies, moved(*shift, picture)) for shift in SHIFTS for picture in (PICTURE, PICTURE.flip(3))]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([1 / 18] * 18, abs=0.018)


def test_erase_makes_a_square_black_in_half_of_the_images() -> None:
    whole = drawn("flip_shift")
    copies = drawn("flip_shift_erase")  # the same draws, and then the squares
    erased = (copies != whole).flatten(1).any(dim=1)
    assert float(erased.double().mean()) == pytest.approx(0.5, abs=0.04)
    assert int(((copies != whole) & (copies != 0)).sum()) == 0
    for copy, image in zip(copies[erased], whole[erased], strict=True):
        lost = (copy != image)[0].nonzero()
        height, width = (lost.max(dim=0).values - lost.min(dim=0).values + 1).tolist()
        assert max(height, width) <= PATCH
        assert len(lost) == height * width  # less than a square only where the image is shifted away
    rows = (copies != whole).any(dim=3).any(dim=0).flatten().nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (2, 29)  # of the 28 x 28 pixels within the padding


@pytest.mark.parametrize("augmentation", ["flip", "shift", "flip_shift", "flip_shift_erase"])
def test_draws_depend_on_the_generator_alone(augmentation: str) -> None:
    before = IMAGES.clone()
    assert torch.equal(drawn(augmentation), drawn(augmentation))
    assert not torch.equal(drawn(augmentation), drawn(augmentation, seed=1))
    assert torch.equal(IMAGES, before)


def test_all_chunks_of_a_data_set_are_augmented() -> None:
    images = IMAGES[: 2 * CHUNK + 10]
    out = torch.zeros_like(images)
    augment(images, "shift", torch.Generator().manual_seed(0), out)
    first, second, rest = out.split(CHUNK)
    assert torch.equal(first, augmented(images[:CHUNK], "shift", torch.Generator().manual_seed(0)))
    assert not torch.equal(first, second)
    assert sum(share(rest, moved(*shift)) for shift in SHIFTS) == pytest.approx(1)
