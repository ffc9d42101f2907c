"""Augmentation: copies of the training images, flipped, shifted and partly erased at random."""

import functools

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SIZE, PADDING = 32, 2  # pixels
SHIFT = 1  # pixels: at most the padding, so that no part of an image is lost
PATCH = 8  # pixels: the side of the erased square
CHUNK = 500  # images, which fit the cache


def augment(images: Tensor, augmentation: str, generator: Generator, out: Tensor) -> None:
    """Write an augmented copy of each image to `out`; both are uint8 N x 1 x 32 x 32. See `augmented`."""
    for chunk, copy in zip(images.split(CHUNK), out.split(CHUNK), strict=True):
        copy.copy_(augmented(chunk, augmentation, generator))


def augmented(images: Tensor, augmentation: str, generator: Generator) -> Tensor:
    """Return an augmented copy of each image, uint8 N x 1 x 32 x 32.

    augmentation: a value of `train.augmentation` in params.yaml. "flip" exchanges left and right in half of the images.
    "shift" moves an image by up to `SHIFT` pixels in each direction. "erase" makes a square of `PATCH` x `PATCH` pixels
    black in half of the images (DeVries and Taylor, Improved regularization of convolutional neural networks with
    cutout, arXiv 1708.04552, 2017). Several are joined by "_".

    The random numbers are drawn on the CPU, so that images on a GPU get the same.
    """

    def drawn(choices: int) -> Tensor:
        return torch.randint(choices, (len(images),), generator=generator).to(images.device)

    # index_select copies whole images; torch.where, and indexing by a tensor, would take several times as long.
    parts, numbers = augmentation.split("_"), torch.arange(len(images), device=images.device)
    if "flip" in parts:
        both = torch.cat([images, images.flip(3)])
        images = both.index_select(0, numbers + len(images) * drawn(2))
    if "shift" in parts:
        images = shifted(images, drawn(2 * SHIFT + 1), drawn(2 * SHIFT + 1))
    if "erase" in parts:
        masks = erasing_masks().to(images.device)
        images = images * masks.index_select(0, drawn(len(masks)))
    return images


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return the images, each moved by its entries of `down` and `right` (int64 N, 0 to 2 `SHIFT`) minus `SHIFT`."""
    windows = F.pad(images, (SHIFT,) * 4).unfold(2, SIZE, 1).unfold(3, SIZE, 1)
    return windows[torch.arange(len(images), device=images.device), :, 2 * SHIFT - down, 2 * SHIFT - right]


@functools.cache
def erasing_masks() -> Tensor:
    """Return the factors of the pixels, uint8 M x 1 x 32 x 32: one mask for each place of the square within the 28x28
    pixels of an image, and as many that erase nothing."""
    pixel = torch.arange(SIZE)
    first = torch.arange(PADDING, SIZE - PADDING - PATCH + 1)[:, None]
    inside = (pixel >= first) & (pixel < first + PATCH)  # places x pixels
    squares = (inside[:, None, :, None] & inside[None, :, None, :]).reshape(-1, 1, SIZE, SIZE)
    return torch.cat([~squares, torch.ones_like(squares)]).byte()
