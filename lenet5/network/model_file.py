"""Trained models in files: models/<technique>.pt. No other module reads or writes them."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from lenet5.data.tensors import load_tensors, save_tensors, tensors_digest
from lenet5.network.model import LeNet5
from lenet5.support.errors import UserError
from lenet5.support.params import CLASS_NAMES, ClassNames, Probability, Sha256, TrainSettings
from lenet5.support.schema import Section, first_problem


class Arguments(Section):
    """What LeNet5 is built with."""

    batch_norm: bool
    dropout: Probability


class Origin(Section):
    """What a run's result depends on besides the code."""

    settings: TrainSettings
    data_sha256: dict[str, Sha256]
    torch: str


class Content(Section):
    """The content of a model's file."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    architecture: Literal["LeNet5"]
    arguments: Arguments
    state_dict: dict[str, Tensor]
    weights_sha256: Sha256
    technique: str
    epoch: Annotated[int, Field(ge=1)]
    validation_loss: float
    origin: Origin
    class_names: ClassNames = CLASS_NAMES

    @model_validator(mode="after")
    def arguments_are_those_of_the_run(self) -> Self:
        settings = self.origin.settings
        if (self.arguments.batch_norm, self.arguments.dropout) != (settings.batch_norm, settings.dropout):
            raise ValueError("arguments differ from origin.settings")
        return self


def save_model(
    path: Path,
    *,
    technique: str,
    settings: TrainSettings,
    weights: dict[str, Tensor],
    epoch: int,
    validation_loss: float,
    origin: dict[str, Any],
    class_names: tuple[str, ...] = CLASS_NAMES,
) -> None:
    """Write a model: its weights (a state dict), the arguments that rebuild it, and where it came from. It names its
    classes unless they are Fashion-MNIST's."""
    content = {
        "architecture": "LeNet5",
        "arguments": {"batch_norm": settings.batch_norm, "dropout": settings.dropout},
        "state_dict": weights,
        "weights_sha256": tensors_digest(weights),
        "technique": technique,
        "epoch": epoch,
        "validation_loss": validation_loss,
        "origin": origin,
    }
    if class_names != CLASS_NAMES:
        content["class_names"] = class_names
    save_tensors(path, content)


def load_model(path: str | Path) -> tuple[LeNet5, dict[str, Any]]:
    """Return the model, in evaluation mode, and the whole content of its file: technique, epoch, origin and so on.

    Raises UserError if the file is missing, damaged, edited or not a model of this project.
    """
    try:
        content = Content.model_validate(load_tensors(path, largest_file()))
        return _rebuilt(content), content.model_dump()
    except ValidationError as error:
        raise _not_a_model(path, first_problem(error)) from None
    except (ValueError, RuntimeError) as error:  # RuntimeError: a kind of tensor that cannot be copied to the model
        raise _not_a_model(path, str(error)) from None


def largest_file() -> int:
    """Return a limit for the size of a model's file, in bytes: twice that of its tensors, and a megabyte."""
    with torch.device("meta"):  # without memory or random numbers
        tensors = LeNet5(batch_norm=True).state_dict().values()
    return 2 * sum(int(tensor.nbytes) for tensor in tensors) + 2**20


def _rebuilt(content: Content) -> LeNet5:
    """Return the model of a file's content. Raises ValueError if its weights do not fit or are not those of the run."""
    model = LeNet5(**content.arguments.model_dump()).eval()
    weights = model.state_dict()
    for name in {**weights, **content.state_dict}:
        expected, found = (_form(tensors.get(name)) for tensors in (weights, content.state_dict))
        if found != expected:
            raise ValueError(f"state_dict.{name[:60]} is {found}, expected {expected}")
    model.load_state_dict(content.state_dict)
    for name, tensor in weights.items():  # shares memory with the model
        if not np.isfinite(tensor.numpy()).all():
            raise ValueError(f"state_dict.{name} holds NaN or infinity")
    if tensors_digest(weights) != content.weights_sha256:
        raise ValueError("weights_sha256 is not the digest of the weights: one of the two was changed")
    return model


def _form(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"


def _not_a_model(path: str | Path, reason: str) -> UserError:
    line = " ".join(reason.split())[:300]
    remedy = "If it is a result, delete it and run `dvc repro`."
    return UserError(f"{path} is not a LeNet-5 of this project ({line}). {remedy}")
