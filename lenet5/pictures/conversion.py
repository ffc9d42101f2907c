"""Pictures as people have them, in the form of Fashion-MNIST's images: 28x28, grey, one light object on black.

The steps are those by which the data set was made (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747, section 2.1 and
figure 1): trim edges that are close to the colour of the corners; resize the longest edge to 28; sharpen with a
Gaussian of radius and standard deviation 1; centre; negate; convert to grey. Its photographs were made in a studio.
Three rules are for others:

- The background, which need not be white, becomes exactly black.
- Resizing averages pixels instead of skipping them, so that a camera's noise is averaged as well.
- What resizing does not reduce, and so does not blur, is not sharpened.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Pixels = NDArray[np.uint8]

SIDE = 28
WORKING_SIDE = 256  # pixels: larger pictures are reduced to one to two times this, against noise and for speed
CLOSE = 0.05 * 255  # two colours are close if they differ by less, as the root mean square over red, green and blue
SIMILAR = 0.25  # a part is an object of its own if it has this share of the pixels of the largest part


def convert(picture: Image.Image) -> Pixels:
    """Return an RGB picture in the form of Fashion-MNIST's images, 28 x 28. One of 28x28 pixels has this form already;
    it becomes grey, and is negated if its background is light."""
    if picture.size == (SIDE, SIDE):
        grey = np.array(picture.convert("L"))
        return np.asarray(255 - grey if brightness(background(picture)) > 127 else grey)
    picture = picture.reduce(max(1, max(picture.size) // WORKING_SIDE))
    colour = background(picture)
    trimmed = trim(picture, colour)
    pixels = from_background(resize(trimmed.convert("L")), brightness(colour))
    if max(trimmed.size) > SIDE:
        pixels = sharpen(pixels)
    return centre(np.rint(pixels).astype(np.uint8))


def background(picture: Image.Image) -> NDArray[np.float64]:
    """Return the median colour of the four corners: red, green, blue."""
    corners = np.array(picture)[[0, 0, -1, -1], [0, -1, 0, -1]]
    return np.asarray(np.median(corners, axis=0))


def brightness(colour: NDArray[np.float64]) -> float:
    """Return the grey value of a colour, 0 to 255, by the weights with which Pillow converts to grey."""
    return float(colour @ (0.299, 0.587, 0.114))


def trim(picture: Image.Image, colour: NDArray[np.float64]) -> Image.Image:
    """Return the picture without the edges that are close to `colour`; all of it if every pixel is."""
    differs = np.sqrt(((np.array(picture) - colour) ** 2).mean(axis=2)) > CLOSE
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return picture
    return picture.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def resize(grey: Image.Image) -> NDArray[np.float64]:
    """Return the pixels of a grey picture whose longest edge becomes 28, the other in proportion."""
    width, height = (max(1, round(length * SIDE / max(grey.size))) for length in grey.size)
    return np.array(grey.resize((width, height), Image.Resampling.BOX), dtype=np.float64)


def from_background(pixels: NDArray[np.float64], grey: float) -> NDArray[np.float64]:
    """Return the distance of each pixel from the background, whose grey value is given: 0 is the background, 255 is
    black if the pixels that differ from it are darker on average, and white if they are lighter."""
    differing = pixels[abs(pixels - grey) > CLOSE]
    # The mean, since the part of a background that is not lit evenly can have more pixels than the object.
    darker = np.mean(differing) < grey if differing.size else grey > 127
    distance = (grey - pixels) / grey if darker else (pixels - grey) / (255 - grey)
    return np.asarray(255 * distance.clip(0, 1))


def sharpen(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the pixels sharpened by a Gaussian of radius and standard deviation 1, as ImageMagick's -sharpen 1x1."""
    squares = np.array([1, 0, 1])
    kernel = -np.exp(-np.add.outer(squares, squares) / 2)
    kernel[1, 1] = -2 * (kernel.sum() - kernel[1, 1])
    return np.asarray(ndimage.correlate(pixels, kernel / kernel.sum(), mode="nearest").clip(0, 255))


def centre(pixels: Pixels) -> Pixels:
    """Return the pixels in the centre of a black 28 x 28 image."""
    image: Pixels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    height, width = pixels.shape
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    image[top : top + height, left : left + width] = pixels
    return image


def warning(image: NDArray[Any]) -> str | None:
    """Return why a converted image does not seem to show one object, or None if it does."""
    parts, count = ndimage.label(image > CLOSE, structure=np.ones((3, 3)))
    if count == 0:
        return "shows no object that differs from its background"
    sizes = np.bincount(parts.ravel())[1:]
    objects = int((sizes >= SIMILAR * sizes.max()).sum())
    return f"seems to show {objects} objects" if objects > 1 else None
