"""Repair what a killed DVC leaves behind, so that the next one can run: `python -m commands.repair`.

`make` commands do this by themselves. If plain `dvc` fails on a damaged dvc.lock, or on a lock of a process that no
longer exists, run it by hand. A kill or a power failure can leave

- a dvc.lock, which DVC writes in place, emptied or cut off: the last good one is restored;
- an entry of DVC's run cache cut off: it is deleted, as DVC itself does if the entry is not valid YAML;
- an object of DVC's cache with another content than its name, which is its md5: it is deleted, since DVC restores
  files from it without checking them;
- an entry in .dvc/tmp/rwlock whose process id now belongs to another process, for which DVC would wait forever, or
  that file emptied: it is removed.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from dvc.exceptions import DvcException
from dvc.lock import make_lock
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA, COMPILED_LOCKFILE_SCHEMA
from dvc.utils import dict_sha256
from dvc.utils.serialize import parse_yaml
from voluptuous import Invalid

from lenet5.support.files import write_atomically

LOCK_FILES = (Path("dvc.lock"), Path("replication/dvc.lock"), Path("replication/tuning/dvc.lock"))
COPIES = Path(".checkpoints/locks")  # the last good content of each of them
CACHE = Path(".dvc/cache/files/md5")
RUN_CACHE = Path(".dvc/cache/runs")
TMP = Path(".dvc/tmp")
NOT_IN_DIGEST = ["size", "nfiles"]  # keys that DVC leaves out of the digests in its run cache


def is_valid(content: bytes) -> bool:
    """Return whether DVC accepts this content of a dvc.lock. One without a final line break has been cut off."""
    try:
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(content.decode(), "dvc.lock"))
    except (DvcException, Invalid, ValueError):
        return False
    return content.endswith(b"\n")


def keep_lock_file(path: Path) -> None:
    """Copy a valid dvc.lock to where `repair_lock_file` finds it."""
    if path.exists() and is_valid(content := path.read_bytes()):
        write_atomically(COPIES / path, content)


def repair_lock_file(path: Path) -> bool:
    """Replace a damaged dvc.lock by the last good one: the copy of `keep_lock_file` or that of the last commit,
    whichever is later. Return whether it was damaged."""
    if not path.exists() or is_valid(path.read_bytes()):
        return False
    copy, damaged = COPIES / path, COPIES / f"{path}.damaged"
    good, source = git("show", f"HEAD:./{path}") + b"\n", "the last commit"
    if copy.exists() and copy.stat().st_mtime >= int(git("log", "-1", "--format=%ct", "--", str(path)) or 0):
        good, source = copy.read_bytes(), "a copy"
    damaged.parent.mkdir(parents=True, exist_ok=True)
    path.replace(damaged)
    if is_valid(good):
        write_atomically(path, good)
        print(f"{path} was damaged; restored it from {source}. The damaged file is now {damaged}.", flush=True)
    else:
        print(f"{path} was damaged; DVC writes a new one. The damaged file is now {damaged}.", flush=True)
    return True


def git(*arguments: str) -> bytes:
    """Return what git prints, or nothing if it fails."""
    return subprocess.run(["git", *arguments], capture_output=True, check=False).stdout.strip(b"\n")


def repair_run_cache() -> bool:
    """Delete the entries of DVC's run cache whose content does not have the sha256 in their name, and the empty folders
    in which DVC would look for one. Return whether there were any."""
    found = False
    for folder in RUN_CACHE.glob("*/*/"):
        for path in [path for path in folder.iterdir() if not is_intact(path)]:
            path.unlink()
            print(f"{path}, an entry of DVC's run cache, was damaged; deleted it.", flush=True)
            found = True
        if not any(folder.iterdir()):
            folder.rmdir()
            found = True
    return found


def repair_cache() -> bool:
    """Delete the objects of DVC's cache whose content does not have the md5 that is their path. Return whether there
    were any."""
    found = False
    # DVC's temporary files have another suffix.
    for path in [path for path in CACHE.glob("??/*") if path.suffix in ("", ".dir")]:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        if digest != path.parent.name + path.stem:
            path.unlink()
            print(f"{path}, an object of DVC's cache, was damaged; deleted it.", flush=True)
            found = True
    return found


def is_intact(path: Path) -> bool:
    """Return whether an entry of DVC's run cache has the content whose sha256 is its name."""
    try:
        entry = COMPILED_LOCK_FILE_STAGE_SCHEMA(parse_yaml(path.read_text(), path))
    except (DvcException, Invalid, ValueError):
        return False
    return bool(dict_sha256(entry, exclude=NOT_IN_DIGEST) == path.name)


def is_running(entry: Any) -> bool:
    """Return whether the process of an entry in rwlock is running.

    By now, its id may belong to another process. The last argument must be the same: the others differ between
    `dvc` and `python -m dvc`.
    """
    try:
        process = psutil.Process(entry["pid"])
        same = process.cmdline()[-1].endswith(entry["cmd"].split(" ")[-1])
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (psutil.NoSuchProcess, IndexError):
        return False


def release_locks() -> bool:
    """Remove the entries of processes that have ended from .dvc/tmp/rwlock. Return whether there were any."""
    path = TMP / RWLOCK_FILE
    if not path.exists():
        return False
    with make_lock(str(TMP / RWLOCK_LOCK), tmp_dir=str(TMP), wait=True):
        try:
            locks = {"write": {}, "read": {}} | json.loads(path.read_text())
            running = {
                "write": {name: entry for name, entry in locks["write"].items() if is_running(entry)},
                "read": {
                    name: alive for name, entries in locks["read"].items() if (alive := [*filter(is_running, entries)])
                },
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            locks, running = {}, {"write": {}, "read": {}}
        if running == locks:
            return False
        write_atomically(path, json.dumps(running).encode())
        return True


@contextmanager
def no_dvc() -> Iterator[None]:
    """Keep every DVC from reading or writing its files meanwhile."""
    TMP.mkdir(exist_ok=True)
    with make_lock(str(TMP / "lock"), tmp_dir=str(TMP), wait=True):
        yield


def check_lock_files() -> bool:
    """Repair or copy each dvc.lock. Return whether one was damaged."""
    with no_dvc():
        damaged = [path for path in LOCK_FILES if repair_lock_file(path)]
        for path in LOCK_FILES:
            keep_lock_file(path)
    return bool(damaged)


def repair() -> bool:
    """Repair everything. Return whether anything was damaged."""
    damaged = check_lock_files()
    with no_dvc():
        return any([damaged, repair_cache(), repair_run_cache(), release_locks()])


if __name__ == "__main__":
    take_no_arguments()
    if not repair():
        print("Nothing is damaged.")
