"""Tensors in files: equal contents give equal bytes, and reading a file never runs code."""

import hashlib
import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically


def save_tensors(path: Path, content: Any) -> None:
    """Write `content` (tensors and plain values) with `torch.save`, atomically.

    It goes through memory: given a path, torch writes the file's name into the archive, so that equal contents under
    two names would differ in their bytes.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def load_tensors(path: str | Path, largest: int | None = None) -> Any:
    """Return what `save_tensors` wrote. Only tensors and plain values are unpickled, never code.

    Raises UserError if the file is missing, damaged, larger than `largest` bytes or holds anything else.
    """
    try:
        _check_archive(Path(path), largest)
        return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing. If it is a result of this project, run `dvc repro` to compute it."
        ) from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Fix this and run again.") from None
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path} is damaged or was not written by this project ({reason[:120]}). If it is a result, "
            "delete it, run `python -m commands.repair`, which finds damage in DVC's cache, and then `dvc repro`."
        ) from None


def _check_archive(path: Path, largest: int | None) -> None:
    """Raise ValueError if a file is not an archive as torch writes it, before anything in it takes memory."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if largest is not None and status.st_size > largest:
        raise ValueError(f"{status.st_size} bytes, where at most {largest} are possible")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Uncompressed, as torch writes them, entries are not larger than the file, unless they share its bytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed")
        if sum(entry.file_size for entry in entries) > status.st_size:
            raise ValueError("larger than its file")
        if archive.testzip() is not None:  # torch ignores the checksums
            raise ValueError("wrong checksum")


def tensors_digest(tensors: dict[str, torch.Tensor]) -> str:
    """Return the sha256 of names, dtypes, shapes and values, sorted by name.

    Unlike the bytes of a `.pt` file, it depends neither on torch's archive format nor on the machine that wrote it.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().astype(tensor.numpy().dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
