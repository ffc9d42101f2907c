"""Files that are whole or not there, and equal contents that are equal bytes."""

import json
import os
from pathlib import Path
from typing import Any

from stages.errors import UserError


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `.<name>.partial` beside `path`, then rename it: a reader sees the old file or the new one, and
    neither a kill nor a power cut leaves half of one. What a kill leaves of the partial file, the next write replaces:
    under a name of chance it would stay, and in a folder that DVC hashes it would change the hash.

    Raises UserError when the file cannot be written (disk full, read-only folder).
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
    return UserError(f"Cannot write {path}: {error.strerror}. Make room or mend the permissions; run again.")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON; NaN and infinity are refused, for they are no JSON."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
