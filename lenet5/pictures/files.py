"""Image files: everything that Pillow reads, as RGB pictures."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lenet5.support.errors import UserError


def read_picture(path: Path) -> Image.Image:
    """Return the picture in a file: RGB, turned as viewers show it, on white where it is transparent.

    Raises UserError if it cannot be read.
    """
    try:
        if path.is_fifo() or path.is_char_device():  # reading might never end
            raise ValueError("it is a pipe or a device")
        # Warnings of damaged metadata do not matter here, and must not become errors under PYTHONWARNINGS=error.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            picture = eight_bit(ImageOps.exif_transpose(file)).convert("RGBA")
            if 0 in picture.size:
                raise ValueError("it has no pixels")
            white = Image.new("RGBA", picture.size, "white")
            return Image.alpha_composite(white, picture).convert("RGB")
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that Pillow can read.") from None
    except Exception as error:  # Pillow's plugins raise RuntimeError, NotImplementedError, struct.error and others
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as an image: {reason.rstrip('.')}.") from None


def eight_bit(image: Image.Image) -> Image.Image:
    """Return 16-bit grey, which Pillow would clip instead of scale, as 8-bit grey; any other image as it is.

    Raises ValueError for 32-bit pixels, which have no defined white.
    """
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.array(image, dtype=np.int64) // 257).clip(0, 255).astype(np.uint8))
