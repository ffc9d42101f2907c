"""Time the study: `make reproduce` in a copy of the project, then `dvc repro` with nothing left to do."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from commands.scratch import copies, reproduce
from lenet5.support.paths import MODELS, PREPARED

REPEATS = 5


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training_seconds(folder: Path) -> float:
    """Return the seconds from the prepared data to the last of the models, by the times of the files."""
    prepared, models = (
        max(path.stat().st_mtime for path in (folder / parent).glob("*.pt")) for parent in (PREPARED, MODELS)
    )
    return models - prepared


def study_seconds() -> dict[str, float]:
    """Return the seconds of the whole study on all cores, from raw files to figures, of what it does before and after
    the training, and of a `dvc repro` after it."""
    with copies() as [folder]:
        study = seconds_of(lambda: reproduce(folder))
        around = study - training_seconds(folder)
        repro = ["dvc", "repro", "--quiet"]
        again = [seconds_of(lambda: subprocess.run(repro, cwd=folder, check=True)) for _ in range(REPEATS)]
    return {"study": study, "before and after training": around, "nothing to do": min(again)}
