"""Check that each model was trained with the settings in params.yaml, on the images in data/prepared.

`python -m commands.origins`, the last step of `make reproduce`, compares them with what the file of the model records
of its own run. DVC compares files only, and records what it finds when a command has ended. Prints nothing if all
agree.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

from typing import Any

from lenet5.data.dataset import load_data
from lenet5.network.model_file import load_model
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import MODELS, PARAMS, PREPARED
from lenet5.training.checkpoint import origin_of


def differences(origin: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return one line for each setting in which the origin of a model differs from the expected one, and one for the
    images."""
    pairs = ((key, origin["settings"][key], value) for key, value in expected["settings"].items())
    lines = [f"{key} {found}, but {PARAMS} has {value}" for key, found, value in pairs if found != value]
    if origin["data_sha256"] != expected["data_sha256"]:
        lines.append(f"other images than those in {PREPARED}")
    return lines


def main(techniques: list[str]) -> None:
    params = load_params()
    origin = origin_of(params.train, load_data())  # all techniques share its images, whose digests take time
    mistakes = []
    for technique in techniques:
        path = MODELS / f"{technique}.pt"
        _, content = load_model(path)
        expected = origin | {"settings": params.settings(technique).model_dump()}
        if lines := differences(content["origin"], expected):
            remedy = f"Run `dvc repro --force --single-item train@{technique}`, then `make reproduce`."
            mistakes.append("\n".join([*(f"{path} was trained with {line}." for line in lines), remedy]))
    if mistakes:
        raise UserError("\n".join(mistakes))


if __name__ == "__main__":
    take_no_arguments()
    main(list(load_params().techniques))
