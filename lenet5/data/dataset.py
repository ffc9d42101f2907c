"""The prepared images, as the stages share them: data/prepared/{train,validation,test}.pt."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lenet5.data.tensors import load_tensors, save_tensors
from lenet5.support.errors import UserError
from lenet5.support.files import Fields, read_json, write_json
from lenet5.support.params import CLASS_NAMES, checked_class_names
from lenet5.support.paths import PREPARED

NAMES = "class_names.json"  # exists only if they are not those of Fashion-MNIST


class Split(NamedTuple):
    """Images and their labels: uint8 N x 1 x 32 x 32, int64 N with values 0 to 9."""

    images: Tensor
    labels: Tensor

    def to(self, device: str) -> "Split":
        """Return a copy on `device`, "cpu" or "cuda"."""
        return Split(self.images.to(device), self.labels.to(device))

    def digest(self) -> str:
        """Return the sha256 of dtypes, shapes and values."""
        digest = hashlib.sha256()
        for tensor in self:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


class Data(NamedTuple):
    """The three splits of the data set."""

    train: Split
    validation: Split
    test: Split


def save_split(split: Split, name: str, folder: Path = PREPARED) -> None:
    """Write a split as `<folder>/<name>.pt`."""
    save_tensors(folder / f"{name}.pt", split._asdict())


def load_split(name: str, folder: Path = PREPARED) -> Split:
    """Return the prepared split "train", "validation" or "test". Raises UserError if it is missing or damaged."""
    path = folder / f"{name}.pt"
    content = load_tensors(path)
    if not isinstance(content, dict) or set(content) != set(Split._fields) or not _is_prepared(Split(**content)):
        raise UserError(f"{path} does not hold prepared images. Delete it and run `dvc repro`.")
    return Split(**content)


def _is_prepared(split: Split) -> bool:
    """Return whether dtypes and shapes are those of prepared images and labels."""
    if not all(isinstance(part, Tensor) for part in split):
        return False
    images, labels = split
    return (
        (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        and labels.shape == images.shape[:1]
        and images.shape[1:] == (1, 32, 32)
    )


def load_data(folder: Path = PREPARED) -> Data:
    """Return all three prepared splits. Raises UserError if one is missing or damaged."""
    return Data(*(load_split(name, folder) for name in Data._fields))


def save_class_names(names: tuple[str, ...], folder: Path = PREPARED) -> None:
    """Write the names of the classes next to the splits, unless they are Fashion-MNIST's."""
    path = folder / NAMES
    if names == CLASS_NAMES:
        path.unlink(missing_ok=True)
    else:
        write_json(path, {"class_names": names})


def load_class_names(folder: Path = PREPARED) -> tuple[str, ...]:
    """Return the names of the prepared data set's classes. Raises UserError if their file is damaged."""
    path = folder / NAMES
    if not path.exists():
        return CLASS_NAMES
    fields: Fields = {"class_names": lambda value: checked_class_names(tuple(value))}
    return tuple(read_json(path, fields)["class_names"])
