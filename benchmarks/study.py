"""Time the study: `make reproduce` in a copy of the project, then `dvc repro` with nothing left to do."""

import statistics
import subprocess
import time
from collections.abc import Callable

from commands.scratch import copies, reproduce

REPEATS = 3


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def study_seconds() -> dict[str, float]:
    """Return the seconds of the whole study on all cores, from raw files to figures, and of a `dvc repro` after it."""
    with copies() as [folder]:
        study = seconds_of(lambda: reproduce(folder))
        repro = ["dvc", "repro", "--quiet"]
        again = [seconds_of(lambda: subprocess.run(repro, cwd=folder, check=True)) for _ in range(REPEATS)]
    return {"study": study, "nothing to do": statistics.median(again)}
