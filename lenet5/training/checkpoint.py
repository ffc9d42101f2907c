"""Checkpoints, from which a killed run resumes: one file per run, written after each epoch, outside DVC's outputs.

DVC deletes the outputs of a stage before it runs the command, so a checkpoint cannot be one of them.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from lenet5.data.dataset import Data
from lenet5.data.tensors import load_tensors, save_tensors
from lenet5.support.errors import UserError
from lenet5.support.files import cannot_write
from lenet5.support.params import TrainSettings

CHECKPOINTS = Path(".checkpoints")


def origin_of(settings: TrainSettings, data: Data) -> dict[str, Any]:
    """Return what a run's result depends on besides the code, as JSON values: settings, data, version of PyTorch."""
    return {
        "settings": settings.model_dump(),
        "data_sha256": {name: split.digest() for name, split in data._asdict().items()},
        "torch": torch.__version__.split("+")[0],  # the same for CPU and CUDA builds
    }


def identity(origin: dict[str, Any], sources: Mapping[Path, str]) -> str:
    """Return a digest of `origin` and of the digests of the project's source files.

    A checkpoint is found only under the same digest.
    """
    content = [origin, [sources[path] for path in sorted(sources)]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class Checkpoint:
    """The checkpoint file `path`: complete or absent, whenever the process or the machine stops."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Any:
        """Return what was saved last, or None. A damaged file is renamed, with a message.

        Raises UserError if the file cannot be read at all, such as another user's.
        """
        if not self.path.exists():
            return None
        try:
            self.path.open("rb").close()
        except OSError as error:
            raise UserError(f"Cannot read {self.path}: {error.strerror}. Fix the permissions, or delete it.") from None
        try:
            return load_tensors(self.path)
        except UserError:
            aside = self.path.with_suffix(".damaged")
            self.path.replace(aside)
            print(f"The checkpoint {self.path} is damaged; renamed it to {aside.name} and starting from epoch 1.")
            return None

    def save(self, content: Any) -> None:
        """Write tensors and plain values."""
        save_tensors(self.path, content)

    def delete(self) -> None:
        """Delete it and its neighbours, which belong to the same run with other settings, code or data."""
        for path in self.path.parent.glob("*.pt"):
            path.unlink()


def folder_of(name: str, digest: str) -> Path:
    """Return the folder of a run's checkpoint.

    `dvc exp run --temp` and the workers of `dvc queue` run stages in a copy of the project, which they delete when they
    are interrupted. DVC_ROOT is the project itself then; the runs of several copies have a folder each.
    """
    root = Path(os.environ.get("DVC_ROOT", ""))
    return CHECKPOINTS / name if root.resolve() == Path.cwd() else root / CHECKPOINTS / "experiments" / digest


@contextmanager
def exclusive(name: str, digest: str) -> Iterator[Checkpoint]:
    """Yield the checkpoint of the run `name`, while no other process works on a run of this name in this folder.

    A second process prints a message and waits. The lock is released when its process ends, even if it is killed.
    Raises UserError if the checkpoint's folder cannot be written.
    """
    path = folder_of(name, digest) / "lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"Another process is training {name}; waiting for it to end (lock: {path}).", flush=True)
            lock.acquire()
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        yield Checkpoint(path.with_name(f"{digest}.pt"))
    finally:
        lock.release()
