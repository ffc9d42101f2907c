"""Fashion-MNIST as tensors: reading IDX files, padding, splitting, and the prepared files that the stages share."""

import hashlib
import struct
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from stages.errors import UserError
from stages.paths import PREPARED
from stages.tensors import load_tensors, save_tensors

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


class Split(NamedTuple):
    """Images with their classes: uint8 N x 1 x H x W, int64 N in 0..9."""

    images: Tensor
    labels: Tensor

    def to(self, device: str) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def digest(self) -> str:
        """sha256 over shapes and values."""
        digest = hashlib.sha256()
        for tensor in self:
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_idx(content: bytes, name: str) -> Tensor:
    """The uint8 tensor in an IDX file (format: http://yann.lecun.com/exdb/mnist, "file formats").

    Raises UserError naming the file when magic number and length do not fit.
    """
    dimensions = content[3] if len(content) >= 4 else 0
    header = 4 + 4 * dimensions
    if content[:3] != b"\x00\x00\x08" or len(content) < header or dimensions == 0:
        raise UserError(f"{name} is no IDX file of unsigned bytes.")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + torch.Size(shape).numel()
    if len(content) != expected:
        raise UserError(f"{name} is {len(content)} bytes long, but its header promises {expected}.")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header).reshape(shape)


def make_split(images: Tensor, labels: Tensor) -> Split:
    """Join 28x28 images (uint8 N x 28 x 28) and labels (uint8 N), padded to the 32x32 that LeNet-5 takes.

    Raises UserError when they do not belong together.
    """
    if images.dim() != 3 or images.shape[1:] != (28, 28) or labels.dim() != 1:
        raise UserError(
            f"Images are {tuple(images.shape)} and labels {tuple(labels.shape)}; expected N x 28 x 28 and N."
        )
    if len(images) != len(labels):
        raise UserError(f"There are {len(images)} images but {len(labels)} labels; the files do not belong together.")
    if len(labels) and int(labels.max()) >= len(CLASS_NAMES):
        raise UserError(f"There is a label {int(labels.max())}; the classes are 0 to {len(CLASS_NAMES) - 1}.")
    return Split(pad(images.unsqueeze(1)), labels.long())


def pad(images: Tensor) -> Tensor:
    """Put N x 1 x 28 x 28 images into the centre of zeros: N x 1 x 32 x 32."""
    return F.pad(images, (2, 2, 2, 2))


def take(split: Split, fraction: float) -> Split:
    """The first images, `fraction` of them; the files are in random order."""
    count = round(len(split.labels) * fraction)
    return Split(split.images[:count], split.labels[:count])


def train_validation_indices(count: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw which of `count` images are trained on and which validate: two ascending int64 index tensors.

    Raises UserError when one of them would be empty.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held_out = round(count * validation_fraction)
    if not 0 < held_out < count:
        raise UserError(
            f"data.validation_fraction {validation_fraction} of {count} training images leaves nothing to train on or "
            "to validate with; change it or data.subset in params.yaml."
        )
    return order[held_out:].sort().values, order[:held_out].sort().values


def split_training_set(split: Split, validation_fraction: float, seed: int) -> tuple[Split, Split]:
    """The training set proper and the validation set."""
    train, validation = (
        Split(split.images[indices], split.labels[indices])
        for indices in train_validation_indices(len(split.labels), validation_fraction, seed)
    )
    return train, validation


def save_split(split: Split, name: str, folder: Path = PREPARED) -> None:
    save_tensors(folder / f"{name}.pt", split._asdict())


def load_split(name: str, folder: Path = PREPARED) -> Split:
    """What `prepare` wrote as "train", "validation" or "test". Raises UserError when it is absent or damaged."""
    path = folder / f"{name}.pt"
    content = load_tensors(path)
    if not isinstance(content, dict) or set(content) != set(Split._fields):
        raise UserError(f"{path} holds no prepared images. Delete it and run `dvc repro`.")
    return Split(**content)
