"""Running DVC: its calls wait for other DVCs, and repair what killed ones have left."""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from commands.repair import check_lock_files, keep_lock_file, repair, repair_cache
from commands.scratch import require
from lenet5.support.errors import UserError

PATIENCE = 600  # seconds to wait for another DVC that uses the same files
BUSY = re.compile("is busy, it is being blocked by|Unable to acquire lock")
BLOCKER = re.compile(r"\(PID \d+\): .*")  # a process, in the first of these errors
# DVC ignores Ctrl-C, which would tear the dvc.lock that it is writing; it ends when its stages do.
START = ("sh", "-c", 'trap "" INT; exec dvc --wait-for-lock "$@"', "dvc")
LOCKS = Path(".checkpoints")


def usable_cores() -> int:
    """Return the number of cores that this process may use, which the quota of a container can limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *map(math.ceil, quotas())])


def jobs() -> int:
    """Return how many runs to compute side by side: the environment variable JOBS, or the number of usable cores.

    Raises UserError if JOBS is something else than a whole number of at least 1.
    """
    text = os.environ.get("JOBS")
    if text is None:
        return usable_cores()
    if not re.fullmatch("[1-9][0-9]*", text):
        raise UserError(f"JOBS is '{text}', but must be a whole number of at least 1.")
    return int(text)


def quotas(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> Iterator[float]:
    """Yield how many cores each control group of this process may use, if that is limited (Linux, cgroup v2)."""
    match = re.search(r"^0::/(.*)$", own.read_text(), re.MULTILINE) if own.exists() else None
    folder = Path(match[1] if match else "")
    for path in (root / each / "cpu.max" for each in (folder, *folder.parents)):
        limit, period = path.read_text().split() if path.exists() else ("max", "1")
        if limit != "max":
            yield int(limit) / int(period)


@contextmanager
def alone(command: str) -> Iterator[None]:
    """Wait until no other process runs the same command in this folder, and repair dvc.lock and DVC's cache."""
    LOCKS.mkdir(exist_ok=True)
    lock = FileLock(LOCKS / f"{command}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another 'make {command}' is running in this folder; waiting for it to end.", flush=True)
        lock.acquire()
    try:
        check_lock_files()
        repair_cache()
        yield
    finally:
        lock.release()


def show_line(line: str) -> None:
    print(line, flush=True)


def dvc(*arguments: str, folder: Path = Path(), show: Callable[[str], object] = show_line) -> None:
    """Run a DVC command in `folder`, and call `show` with each line that it prints.

    If it fails because another DVC uses the same files, or because something is damaged that can be repaired, it is
    repeated. Raises UserError with DVC's error if it fails for another reason.
    """
    require("dvc")
    deadline = time.monotonic() + PATIENCE
    waiting = False
    while True:
        status, errors = _attempt(arguments, folder, show)
        if status == 0:
            keep_lock_file(folder / "dvc.lock")
            print(errors, file=sys.stderr, end="", flush=True)
            return
        if repair():
            continue
        if not BUSY.search(errors) or time.monotonic() > deadline:
            raise UserError(f"{errors}`dvc {' '.join(arguments)}` failed in {folder.resolve()}.")
        if not waiting:
            print("Waiting for another DVC to end:", ", ".join(BLOCKER.findall(errors)), flush=True)
            waiting = True
        time.sleep(1)


def _attempt(arguments: tuple[str, ...], folder: Path, show: Callable[[str], object]) -> tuple[int, str]:
    """Return the exit status, and what was printed on standard error."""
    command = [*START, *arguments]
    with (
        tempfile.TemporaryFile(mode="w+", errors="replace") as errors,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            show(line.rstrip())
        status = process.wait()
        errors.seek(0)
        return status, errors.read()
