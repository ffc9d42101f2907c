"""Atomic and deterministic writing of files, and reading of results that checks them."""

import csv
import errno
import json
import math
import os
import platform
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lenet5.support.errors import UserError

# What a program needs of a results file: for each name the function that converts its value, or raises an exception.
Fields = Mapping[str, Callable[[Any], Any]]
Content = TypeVar("Content")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `.<name>.<thread>.<machine>-<process>.partial` next to `path`, then rename it: a reader sees
    either the old file or the new one, even after a kill or a power failure. Several processes and threads can write
    the same file at once.

    The next write to the folder on the same machine deletes the partial files of killed processes. Until then git and
    DVC ignore them (.gitignore, .dvcignore), so that they do not change the hash of a folder that DVC tracks.

    Raises UserError if the file cannot be written (disk full, read-only folder).
    """
    partial = path.with_name(f".{path.name}.{threading.get_native_id()}.{ending(os.getpid())}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_left_behind(path.parent)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from None


def delete_left_behind(folder: Path) -> None:
    """Delete the partial files of this machine's processes that have ended. A container with a host name of its
    own, which is Docker's default, counts as another machine."""
    for partial in folder.glob(".*.partial"):
        process = partial.stem.rpartition("-")[2]
        if process.isdecimal() and partial.name.endswith(f".{ending(process)}") and not is_running(int(process)):
            partial.unlink(missing_ok=True)


def ending(process: int | str) -> str:
    """Return how the name of a partial file ends, after a dot."""
    return f"{platform.node().replace('.', '_')}-{process}.partial"


def is_running(process: int) -> bool:
    """Return whether a process with this number exists."""
    try:
        os.kill(process, 0)  # sends no signal
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the error to raise when `path` cannot be written."""
    remedies = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space")
    remedies |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Fix the permissions")
    remedy = remedies.get(error.errno or 0, "Fix this")
    return UserError(f"Cannot write {path}: {error.strerror}. {remedy}, then run again.")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON. NaN and infinity raise ValueError, since they are not valid JSON."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path, fields: Fields) -> dict[str, Any]:
    """Return the `fields` of the JSON object in a results file, converted. Raises UserError if it is missing or
    damaged."""

    def parse(text: str) -> dict[str, Any]:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not a JSON object")
        return {name: convert(content[name]) for name, convert in fields.items()}

    return _read(path, parse)


def read_csv(path: Path, fields: Fields) -> dict[str, list[Any]]:
    """Return the columns `fields` of a results file, converted. Raises UserError if it is missing or damaged."""

    def parse(text: str) -> dict[str, list[Any]]:
        if not text:
            raise ValueError("it is empty")
        header, *rows = csv.reader(text.splitlines(), strict=True)
        if not rows or not text.endswith("\n") or any(len(row) != len(header) for row in rows):
            raise ValueError("a row is incomplete")
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        return {name: [convert(value) for value in columns[name]] for name, convert in fields.items()}

    return _read(path, parse)


def number(value: Any) -> float:
    """Return the value as a finite float. Raises ValueError or TypeError if it is something else."""
    result = float(value)
    if not math.isfinite(result):
        raise ValueError(f"{value} is not a finite number")
    return result


def interval(value: Any) -> list[float]:
    """Return the value as two finite floats, as `number` does."""
    low, high = map(number, value)
    return [low, high]


def damaged(path: Path, reason: object) -> UserError:
    """Return the error to raise when a results file has a content that no stage writes."""
    return UserError(f"{path} is damaged: {reason}. Run `dvc repro` to compute it again.")


def _read(path: Path, parse: Callable[[str], Content]) -> Content:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Run `dvc repro` to compute it.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Fix this and run again.") from None
    except KeyError as error:
        raise damaged(path, f"it has no {error}") from None
    except (ValueError, TypeError, OverflowError, RecursionError, csv.Error) as error:
        raise damaged(path, error) from None
