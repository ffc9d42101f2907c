"""Write a model in a format of other programs: `python -m commands.export --format onnx models/dropout.pt`.

Both formats have the metadata under one key, `lenet5`, as JSON: technique, epoch, names of the classes, the digest of
the weights, settings, and what the model takes as input. An ONNX model takes the images of the data set as they are;
weights in a safetensors file are for a LeNet5 of one's own.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
from pathlib import Path
from typing import Any

from lenet5.network.model import LeNet5
from lenet5.network.model_file import load_model
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically

INPUT = {
    "onnx": "uint8 N x 1 x 28 x 28, light on black",
    "safetensors": "float32 N x 1 x 32 x 32: light on black, 28 x 28 pixels divided by 255, in a border of zeros",
}


def metadata(content: dict[str, Any], form: str) -> dict[str, str]:
    """Return the metadata of a model in a format, as one entry: safetensors does not keep the order of several."""
    described = {key: content[key] for key in ("architecture", "technique", "epoch", "weights_sha256")}
    described |= {"classes": content["class_names"], "input": INPUT[form], "settings": content["origin"]["settings"]}
    return {"lenet5": json.dumps(described)}


def exported(model: LeNet5, form: str, described: dict[str, str]) -> bytes:
    """Return the content of a file in the format. Raises UserError if the package of this name is missing."""
    try:
        if form == "onnx":
            from lenet5.export.onnx_model import onnx_bytes  # noqa: PLC0415  # most users have no such package

            return onnx_bytes(model, described)
        from safetensors.torch import save  # noqa: PLC0415

        content: bytes = save(model.state_dict(), described)
        return content
    except ModuleNotFoundError as error:
        raise UserError(f"--format {form} needs a package: run `make environment GROUP=export` ({error}).") from None


def main(model: Path, form: str, output: Path | None) -> None:
    network, content = load_model(model)
    output = output or model.with_suffix(f".{form}")
    if output.resolve() == model.resolve():
        raise UserError(f"--output {output} is the model itself; choose another name.")
    data = exported(network, form, metadata(content, form))
    write_atomically(output, data)
    print(f"{output}: {content['technique']}, {len(data):,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m commands.export",
        description="Export a model to a format that other programs read.",
        epilog="Example: python -m commands.export --format onnx models/dropout.pt writes models/dropout.onnx.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a trained model, such as models/dropout.pt")
    parser.add_argument("--format", dest="form", required=True, choices=INPUT, help="format of the file to write")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: next to the model, with another suffix")
    main(**vars(parser.parse_args()))
