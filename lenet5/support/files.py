"""Atomic and deterministic writing of files."""

import json
import os
from pathlib import Path
from typing import Any

from lenet5.support.errors import UserError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `.<name>.partial` next to `path`, then rename it, so that a reader sees either the old file or
    the new one, even after a kill or a power failure.

    The partial file has a fixed name, so that the next write replaces what a kill leaves behind; a random name would
    stay, and would change the hash of a folder that DVC tracks.

    Raises UserError if the file cannot be written (disk full, read-only folder).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the error to raise when `path` cannot be written."""
    return UserError(f"Cannot write {path}: {error.strerror}. Free some space or fix the permissions, then run again.")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON. NaN and infinity raise ValueError, since they are not valid JSON."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
