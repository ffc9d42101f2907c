"""Tensors in files: equal contents are equal bytes, and nothing that is read can run code."""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from stages.errors import UserError
from stages.files import write_atomically


def save_tensors(path: Path, content: Any) -> None:
    """`torch.save`, atomically, through memory: given a path, torch writes the file's name into the archive, and equal
    contents under two names would be unequal bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_tensors(path: Path) -> Any:
    """What `save_tensors` wrote. Only tensors and plain values are unpickled, never code.

    Raises UserError when the file is absent, damaged or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums in its archives
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise UserError(f"{path} is not there. `dvc repro` makes it.") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} is damaged or was not written by this project ({reason[:120]}). Delete it and run `dvc repro`."
        ) from None


def tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names, dtypes, shapes and values, sorted by name: unlike the bytes of a `.pt` file it does not depend
    on torch's archive format or the machine it was written on."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
