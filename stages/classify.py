"""What is on these pictures? `python -m stages.classify --model models/dropout.pt shirt.png bag.jpg`

Fashion-MNIST shows one light object on black, grey, 28x28. A picture of any size, grey or in colour, is brought to it:
transparency becomes white; grey; inverted when its border is light (median over the border's pixels above half); the
longer side scaled to 28, the shorter in proportion; centred on black, and padded to 32x32 as the training images were.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from stages.dataset import CLASS_NAMES, pad
from stages.errors import UserError
from stages.evaluate import load_model
from stages.model import LeNet5, to_pixels

SIDE = 28


def read_image(path: Path) -> Tensor:
    """The picture in a file as LeNet-5 takes it: uint8 1 x 1 x 32 x 32. Raises UserError when there is none."""
    try:
        with Image.open(path) as file:
            image = eight_bit(ImageOps.exif_transpose(file)).convert("RGBA")
    except UnidentifiedImageError:
        raise UserError(f"{path} is no image that Pillow can read.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read as an image: {reason.rstrip('.')}.") from None
    grey = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("L")
    if is_light(grey):
        grey = ImageOps.invert(grey)
    fitted = ImageOps.pad(grey, (SIDE, SIDE), method=Image.Resampling.BOX, color=0)
    return pad(torch.from_numpy(np.array(fitted))[None, None])


def eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow would clip and not scale, as 8-bit grey; any other picture as it is. Raises ValueError
    for 32-bit pixels, of which nobody can say what is white."""
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.array(image, dtype=np.int64) // 257).clip(0, 255).astype(np.uint8))


def is_light(grey: Image.Image) -> bool:
    """Is the background light, as on most photographs of wares? Judged by the border, one pixel wide."""
    pixels = np.array(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return bool(np.median(border) > 127)


@torch.inference_mode()
def classify(model: LeNet5, image: Tensor, top: int) -> list[dict[str, Any]]:
    """The `top` most probable classes of one image, most probable first."""
    probabilities = model(to_pixels(image))[0].double().softmax(dim=0)
    values, classes = probabilities.topk(top)
    return [
        {"class": CLASS_NAMES[number], "probability": value}
        for number, value in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m stages.classify", description="Classify image files.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", type=Path, required=True, help="a kept model, such as models/dropout.pt")
    parser.add_argument("--top", type=int, default=3, choices=range(1, 11), metavar="N", help="1 to 10 classes (3)")
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
            said = ", ".join(f"{best['class']} {100 * best['probability']:.1f} %" for best in result["classes"])
            print(f"{result['file']}: {said}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
