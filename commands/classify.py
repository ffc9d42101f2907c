"""Classify image files: `python -m commands.classify --model models/dropout.pt shirt.png bag.jpg`.

A Fashion-MNIST image shows one light object on black, in grey, 28x28. An image of any size, grey or in colour, is
converted to that: transparency becomes white; colours become grey; an image with a light border (median above half) is
inverted; the longer side is scaled to 28, the shorter in proportion; the result is centred on black, padded to 32x32.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lenet5.data.dataset import CLASS_NAMES
from lenet5.network.model import LeNet5, to_pixels
from lenet5.network.model_file import load_model
from lenet5.preparation.prepare import pad
from lenet5.support.errors import UserError

SIDE = 28


def read_image(path: Path) -> Tensor:
    """Return the image in a file as LeNet-5 takes it, uint8 1 x 1 x 32 x 32. Raises UserError if it cannot be read."""
    try:
        with Image.open(path) as file:
            image = eight_bit(ImageOps.exif_transpose(file)).convert("RGBA")
    except UnidentifiedImageError:
        raise UserError(f"{path} is not an image that Pillow can read.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read as an image: {reason.rstrip('.')}.") from None
    grey = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")
    if is_light(grey):
        grey = ImageOps.invert(grey)
    fitted = ImageOps.pad(grey, (SIDE, SIDE), method=Image.Resampling.BOX, color=0)
    return pad(torch.from_numpy(np.array(fitted))[None, None])


def eight_bit(image: Image.Image) -> Image.Image:
    """Return 16-bit grey, which Pillow would clip instead of scale, as 8-bit grey; any other image as it is.

    Raises ValueError for 32-bit pixels, which have no defined white.
    """
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16 bits")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.array(image, dtype=np.int64) // 257).clip(0, 255).astype(np.uint8))


def is_light(grey: Image.Image) -> bool:
    """Return whether the background is light, as in most product photographs, judged by the outermost pixels."""
    pixels = np.array(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return bool(np.median(border) > 127)


@torch.inference_mode()
def classify(model: LeNet5, image: Tensor, top: int) -> list[dict[str, Any]]:
    """Return the `top` most probable classes of one image (uint8 1 x 1 x 32 x 32), most probable first."""
    probabilities = model(to_pixels(image))[0].double().softmax(dim=0)
    values, classes = probabilities.topk(top)
    return [
        {"class": CLASS_NAMES[number], "probability": value}
        for number, value in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m commands.classify", description="Classify image files.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", type=Path, required=True, help="a trained model, such as models/dropout.pt")
    classes = range(1, len(CLASS_NAMES) + 1)
    parser.add_argument("--top", type=int, default=3, choices=classes, metavar="N", help="how many classes (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    model, _ = load_model(options.model)
    results: list[dict[str, Any]] = []
    failed = False
    for path in options.files:
        try:
            results.append({"file": str(path), "classes": classify(model, read_image(path), options.top)})
        except UserError as error:
            print(error, file=sys.stderr)
            failed = True
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            predicted = ", ".join(f"{best['class']} {100 * best['probability']:.1f} %" for best in result["classes"])
            print(f"{result['file']}: {predicted}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
