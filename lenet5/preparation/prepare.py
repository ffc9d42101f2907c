"""From IDX files to the prepared splits: read, pad to 32x32, hold out a validation set. Pure functions."""

import math
import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from lenet5.data.dataset import Data, Split
from lenet5.support.errors import UserError
from lenet5.support.params import CLASS_NAMES, DataSettings


def prepare(contents: dict[str, bytes], settings: DataSettings) -> Data:
    """Return the three splits, from the contents of the four uncompressed IDX files by name.

    Raises UserError if a file is not IDX, if images and labels do not match, or if a split would be empty.
    """
    tensors = {name: read_idx(content, name) for name, content in contents.items()}
    training, test = (
        take(
            make_split(tensors[f"{part}-images-idx3-ubyte"], tensors[f"{part}-labels-idx1-ubyte"], part),
            settings.subset,
        )
        for part in ("train", "t10k")
    )
    train, validation = split_training_set(training, settings.validation_fraction, settings.split_seed)
    if not len(test.labels):
        raise UserError(f"data.subset {settings.subset} leaves no test images; increase it in params.yaml.")
    return Data(train, validation, test)


def idx_shape(content: bytes | bytearray) -> tuple[int, ...]:
    """Return the shape of the tensor in an IDX file of unsigned bytes, or () if the content is something else."""
    dimensions = content[3] if len(content) >= 4 else 0
    if content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * dimensions:
        return ()
    return struct.unpack_from(f">{dimensions}I", content, 4)


def idx_size(content: bytes | bytearray) -> int:
    """Return the size in bytes that an IDX file has by its header, or 0 if the content is something else."""
    shape = idx_shape(content)
    return 4 + 4 * len(shape) + math.prod(shape) if shape else 0


def read_idx(content: bytes, name: str) -> Tensor:
    """Return the uint8 tensor in an IDX file, the format of MNIST: magic number, sizes as big-endian uint32, bytes.

    Raises UserError with the file's name if magic number or length is wrong, or if it is empty.
    """
    shape, expected = idx_shape(content), idx_size(content)
    if not shape:
        raise UserError(f"{name} is not an IDX file of unsigned bytes.")
    if len(content) != expected:
        raise UserError(f"{name} is {len(content)} bytes long, but its header requires {expected}.")
    if not math.prod(shape):
        raise UserError(f"{name} holds no images or labels.")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def make_split(images: Tensor, labels: Tensor, part: str) -> Split:
    """Return images (uint8 N x 28 x 28) with their labels (uint8 N), padded to the 32x32 pixels that LeNet-5 takes.

    part: "train" or "t10k", with which the names of their files start. Raises UserError, with these names, if shapes or
    labels do not match.
    """
    of_images, of_labels = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
    remedy = "Put matching files into data/raw, and their sha256 into params.yaml."
    if images.dim() != 3 or images.shape[1:] != (28, 28) or labels.dim() != 1:
        raise UserError(
            f"{of_images} has the shape {tuple(images.shape)} and {of_labels} {tuple(labels.shape)}, but these must be "
            f"N x 28 x 28 and N. {remedy}"
        )
    if len(images) != len(labels):
        raise UserError(f"{of_images} has {len(images)} images, but {of_labels} has {len(labels)} labels. {remedy}")
    if len(labels) and int(labels.max()) >= len(CLASS_NAMES):
        raise UserError(
            f"{of_labels} has a label {int(labels.max())}, but the classes are 0 to {len(CLASS_NAMES) - 1}. For "
            "another number of classes, edit CLASS_NAMES in lenet5/support/params.py."
        )
    return Split(pad(images.unsqueeze(1)), labels.long())


def pad(images: Tensor) -> Tensor:
    """Return N x 1 x 28 x 28 images padded with zeros: N x 1 x 32 x 32."""
    return F.pad(images, (2, 2, 2, 2))


def take(split: Split, fraction: float) -> Split:
    """Return the first `fraction` of the images; the files are in random order."""
    count = round(len(split.labels) * fraction)
    return Split(split.images[:count].clone(), split.labels[:count].clone())  # torch saves a view with all of its base


def train_validation_indices(count: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the training and of the validation images, drawn with `seed`: int64, ascending.

    Raises UserError if one of the two would be empty.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    held_out = round(count * validation_fraction)
    if not 0 < held_out < count:
        raise UserError(
            f"data.validation_fraction {validation_fraction} of {count} training images leaves none for training or "
            "none for validation; change it or data.subset in params.yaml."
        )
    return order[held_out:].sort().values, order[:held_out].sort().values


def split_training_set(split: Split, validation_fraction: float, seed: int) -> tuple[Split, Split]:
    """Return the images to train on and the validation images."""
    train, validation = (
        Split(split.images[indices], split.labels[indices])
        for indices in train_validation_indices(len(split.labels), validation_fraction, seed)
    )
    return train, validation
