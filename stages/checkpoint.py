"""Where a killed training goes on: one file, written after every epoch, outside what DVC keeps.

DVC deletes a stage's outputs before it runs its command, so a checkpoint cannot be one of them.
"""

import fcntl
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import UserError
from stages.files import cannot_write
from stages.tensors import load_tensors, save_tensors

CHECKPOINTS = Path(".checkpoints")


def identity(**inputs: Any) -> str:
    """A digest of everything that a training's result depends on: `inputs` (JSON values) and the source code of this
    project that the process has loaded. A checkpoint is found only under the same digest."""
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode())
    modules = {module for name, module in sys.modules.items() if name.split(".")[0] in ("stages", "__main__")}
    files = {Path(file) for module in modules if (file := getattr(module, "__file__", None))}
    c_sources = {source for file in files for source in file.parent.glob("*.[ch]")}
    for path in sorted(files | c_sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Checkpoint:
    """The file `path`: whole or absent, whenever the process or the machine stops."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Any:
        """What was saved last, or None. A damaged file is set aside, and said so."""
        if not self.path.exists():
            return None
        try:
            return load_tensors(self.path)
        except UserError:
            aside = self.path.with_suffix(".damaged")
            self.path.replace(aside)
            print(f"The checkpoint {self.path} is damaged; it is now {aside.name}, and the training starts over.")
            return None

    def save(self, content: Any) -> None:
        save_tensors(self.path, content)

    def delete(self) -> None:
        """Delete it, and those beside it: of the same training with other parameters, code or data."""
        for path in self.path.parent.glob("*.pt"):
            path.unlink()


@contextmanager
def exclusive(name: str, digest: str, folder: Path = CHECKPOINTS) -> Iterator[Checkpoint]:
    """The checkpoint of a training, while no other process of the same name is at work: a second one waits, and says
    so. The lock goes with the process, however that ends.

    Raises UserError when the checkpoint's folder cannot be written.
    """
    lock = folder / name / "lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise cannot_write(lock, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process is at this training; waiting for it ({lock}).", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield Checkpoint(lock.with_name(f"{digest}.pt"))
