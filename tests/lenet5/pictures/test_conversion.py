"""Converting drawn pictures to the form of Fashion-MNIST. tests/lenet5/test_real_data.py converts its own images."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from lenet5.pictures.conversion import Pixels, convert, sharpen, warning


def photograph(left: int, top: int, right: int, bottom: int, background: str = "white") -> Image.Image:
    """Return a JPEG of a dark oval, 140 x 280 with a light square in it, with these margins."""
    picture = Image.new("RGB", (left + 140 + right, top + 280 + bottom), background)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((left, top, left + 139, top + 279), fill=(40, 60, 90))
    draw.rectangle((left + 40, top + 100, left + 99, top + 159), fill=(180, 180, 170))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return Image.open(file)


def difference(first: Pixels, second: Pixels) -> float:
    """Return the mean absolute difference of two images."""
    return float(np.abs(first.astype(float) - second).mean())


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("background", ["white", "#f4f1ea"])
def test_an_empty_margin_does_not_matter(share: float, background: str) -> None:
    width, height = round(140 * share), round(280 * share)
    without = convert(photograph(0, 0, 0, 0))
    assert difference(convert(photograph(width, height, width, height, background)), without) < 18
    assert difference(convert(photograph(width // 2, height * 2, width * 2, height, background)), without) < 18


def test_the_background_is_black_and_proportions_are_kept() -> None:
    image = convert(photograph(90, 50, 10, 30, background="#f4f1ea"))
    assert np.flatnonzero(image.any(axis=0)).tolist() == list(range(7, 21))
    assert image.any(axis=1).all()
    assert not image[:4, [7, 20]].any()  # the corners of the trimmed picture


def test_a_dark_background_becomes_black_without_negation() -> None:
    picture = ImageOps.invert(photograph(90, 50, 10, 30))
    assert difference(convert(picture), convert(photograph(90, 50, 10, 30))) < 4


@pytest.mark.parametrize("background", [100, 130, 160])
def test_an_object_may_be_lighter_or_darker_than_mid_grey(background: int) -> None:
    for grey in (0, 255):
        pixels = np.full((280, 280, 3), background, dtype=np.uint8)
        pixels[50:230, 100:180] = grey
        image = convert(Image.fromarray(pixels))
        assert image.max() == 255 and warning(image) is None


@pytest.mark.parametrize("drop", [15, 25, 40])
def test_dark_corners_of_the_background_do_not_matter(drop: int) -> None:
    distance = np.hypot(*np.mgrid[-1:1:280j, -1:1:280j])[..., None].repeat(3, axis=2)
    pixels = (210 - drop * (distance / distance.max()) ** 2).astype(np.uint8)
    pixels[50:230, 100:180] = 50
    image = convert(Image.fromarray(pixels))
    assert image[14, 14] > 150 and np.median(image[:, 0]) < 60


def test_the_noise_of_a_camera_does_not_matter() -> None:
    picture = photograph(90, 50, 10, 30)
    large = np.array(picture.resize((960, 1440))) + np.random.default_rng(0).normal(0, 12, (1440, 960, 3))
    noisy = Image.fromarray(large.clip(0, 255).astype(np.uint8))
    assert difference(convert(noisy), convert(picture)) < 18


def test_28x28_pixels_are_kept_and_negated_if_light() -> None:
    pixels = np.random.default_rng(0).integers(0, 90, (28, 28), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert("RGB")
    assert np.array_equal(convert(picture), pixels)
    assert np.array_equal(convert(ImageOps.invert(picture)), pixels)


def test_a_very_long_or_small_picture_is_converted() -> None:
    for size in ((1, 1), (5000, 1), (1, 3), (9, 2000)):
        assert convert(Image.new("RGB", size, "white")).tolist() == [[0] * 28] * 28


def test_sharpening_follows_the_published_operator() -> None:
    uniform = np.full((5, 7), 90.0)
    assert sharpen(uniform) == pytest.approx(uniform)
    point = np.zeros((5, 5))
    point[2, 2] = 100
    corner = np.exp(-1) / (4 * (np.exp(-0.5) + np.exp(-1)))  # its share of the eight neighbours
    assert sharpen(point)[2, 2] == pytest.approx(200)
    assert sharpen(200 - point)[1, 1] == pytest.approx(200 + 100 * corner)


def test_only_what_was_reduced_is_sharpened() -> None:
    small = Image.new("RGB", (40, 40), "white")
    pixels = np.random.default_rng(0).integers(0, 200, (20, 28), dtype=np.uint8)
    small.paste(Image.fromarray(pixels), (5, 9))
    assert np.array_equal(convert(small)[4:24], 255 - pixels)
    assert convert(photograph(9, 9, 9, 9))[:, 7:21].max() > 255 - 40  # the object's grey is 59; its outline is darker


def test_objects_are_counted() -> None:
    image = np.zeros((28, 28), dtype=np.uint8)
    assert warning(image) == "shows no object that differs from its background"
    image[4:20, 2:12] = 150
    assert warning(image) is None
    image[25:27, 24:26] = 150  # a speck
    assert warning(image) is None
    image[6:18, 15:24] = 90
    assert warning(image) == "seems to show 2 objects"
