"""The study itself, timed: `make reproduce` in a copy of the project, then `dvc repro` with nothing left to do."""

import statistics
import subprocess
import time
from pathlib import Path

from stages.errors import UserError
from stages.paths import RAW
from stages.scratch import copies

REPEATS = 5


def seconds_of(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    if subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise UserError(f"`{' '.join(command)}` failed; what failed is said above.")
    return time.perf_counter() - started


def study_seconds() -> dict[str, float]:
    """Seconds of the whole study on all cores, from the raw files to the figures, and of a `dvc repro` after it."""
    with copies() as [folder]:
        (folder / RAW).parent.mkdir(exist_ok=True)
        (folder / RAW).symlink_to(RAW.resolve())
        # This environment is ready, whatever the times of the copied files say.
        study = seconds_of(["make", "--old-file=.venv/ready", "reproduce"], folder)
        nothing = statistics.median(seconds_of(["dvc", "repro"], folder) for _ in range(REPEATS))
    return {"study": study, "nothing to do": nothing}
