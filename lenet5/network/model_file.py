"""Trained models in files: models/<technique>.pt. No other module reads or writes them."""

from pathlib import Path
from typing import Any

from torch import Tensor

from lenet5.data.tensors import load_tensors, save_tensors, tensors_digest
from lenet5.network.model import LeNet5
from lenet5.support.errors import UserError
from lenet5.support.params import TrainSettings


def save_model(
    path: Path,
    *,
    technique: str,
    settings: TrainSettings,
    weights: dict[str, Tensor],
    epoch: int,
    validation_loss: float,
    origin: dict[str, Any],
) -> None:
    """Write a model: its weights (a state dict), the arguments that rebuild it, and where it came from."""
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
    save_tensors(path, content)


def load_model(path: str | Path) -> tuple[LeNet5, dict[str, Any]]:
    """Return the model, in evaluation mode, and the whole content of its file: technique, epoch, origin and so on.

    Raises UserError if the file is missing, damaged or not a model of this project.
    """
    content = load_tensors(path)
    try:
        model = LeNet5(**content["arguments"])
        model.load_state_dict(content["state_dict"])
        _ = content["epoch"], content["origin"]["settings"]["backend"]
    except (KeyError, TypeError, RuntimeError):
        raise UserError(f"{path} is not a LeNet-5 of this project. Delete it and run `dvc repro`.") from None
    return model.eval(), content
