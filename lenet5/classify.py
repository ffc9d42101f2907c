"""Classify image files: `python -m lenet5.classify --model models/dropout.pt shirt.png bag.jpg`.

It runs in the project's folder, and in any folder once the package is installed.

An image of any size, grey or in colour, is converted to the form of Fashion-MNIST's images: see
lenet5/pictures/conversion.py. A picture of several objects, or of none, is classified with a warning.
"""

from lenet5.support.process import set_up

if __name__ == "__main__":  # unlike other programs, this one is a part of the library, which sets nothing
    set_up()

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lenet5.network.model import CLASSES, LeNet5, to_pixels
from lenet5.network.model_file import load_model
from lenet5.pictures.conversion import convert, warning
from lenet5.pictures.files import read_picture
from lenet5.preparation.prepare import pad
from lenet5.support.errors import UserError


def read_image(path: Path) -> Tensor:
    """Return the image in a file as LeNet-5 takes it, uint8 1 x 1 x 32 x 32. Raises UserError if it cannot be read.

    Prints a warning if it does not seem to show one object.
    """
    image = convert(read_picture(path))
    doubt = warning(image)
    if doubt:
        print(f"Warning: {path} {doubt}; the model expects one.", file=sys.stderr)
    return pad(torch.from_numpy(image)[None, None])


@torch.inference_mode()
def classify(model: LeNet5, image: Tensor, names: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    """Return the `top` most probable classes of one image (uint8 1 x 1 x 32 x 32), most probable first.

    names: of all classes.
    """
    probabilities = model(to_pixels(image))[0].double().softmax(dim=0)
    values, classes = probabilities.topk(top)
    return [
        {"class": names[number], "probability": value}
        for number, value in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def show(line: str) -> None:
    """Print a line at once. What the terminal cannot print is escaped: any bytes can be the name of a file."""
    encoding = sys.stdout.encoding
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lenet5.classify", description="Classify image files.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--model", type=Path, required=True, help="a trained model, such as models/dropout.pt")
    counts = range(1, CLASSES + 1)
    parser.add_argument("--top", type=int, default=3, choices=counts, metavar="N", help="how many classes (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)

    model, content = load_model(options.model)
    results: list[dict[str, Any]] = []
    for path in options.files:
        try:
            classes = classify(model, read_image(path), content["class_names"], options.top)
        except UserError as error:
            print(error, file=sys.stderr)
            continue
        results.append({"file": str(path), "classes": classes})
        if not options.json:
            predicted = ", ".join(f"{best['class']} {100 * best['probability']:.1f} %" for best in classes)
            show(f"{path}: {predicted}")
    if options.json:
        print(json.dumps(results, indent=2))
    return int(len(results) < len(options.files))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
