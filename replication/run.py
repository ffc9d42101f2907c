"""Compute the replicates and the runs of recipes that are not up to date, several side by side, and then the analysis:
`make replicate`."""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import json
import re
import sys
import time
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from commands.interruption import Pool, end_together
from commands.pipeline import alone, dvc, jobs
from lenet5.support.errors import UserError
from lenet5.support.paths import METRICS
from replication.analysis.plan import load_plan
from replication.analysis.results import CONFIRMATION
from replication.recipes.plan import load_recipes

PIPELINE = Path("replication")
STAGES = ("replicate", "control", "confirm", "longer", "search", "final")  # each of their stages computes one run
RESULT = re.compile(r"\S+: ((?:test|validation) accuracy .*|diverged)")
RUNS = re.compile(r"(\d+) runs")  # printed first by a stage that computes several
EPOCH = re.compile(r"epoch (\d+)/(\d+):")
BAR = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"  # stages, with the fractions of those in progress


def output(*arguments: str, folder: Path = PIPELINE) -> str:
    """Return the last line that a DVC command prints. Raises UserError if it fails."""
    lines: list[str] = [""]
    dvc(*arguments, folder=folder, show=lines.append)
    return lines[-1]


def outdated(folder: Path, deciding: str, stages: tuple[str, ...]) -> list[str]:
    """Return the names of the stages that compute runs and are not up to date, in the order of the pipeline.

    The deciding stage is brought up to date first, since the others depend on what it writes.
    """
    output("repro", "--single-item", deciding, folder=folder)
    return list(json.loads(output("status", "--json", *stages, folder=folder)))


def compute(name: str, folder: Path, bar: "tqdm[Any]") -> str:
    """Compute one stage, advance the bar with the epochs of its runs, and return its last result. Raises UserError if
    it fails."""
    printed, done = [""], 0.0
    runs, completed = 1, 0

    def show(line: str) -> None:
        nonlocal done, runs, completed
        printed.append(line.strip())
        if match := RUNS.fullmatch(line):
            runs = int(match[1])
        elif match := EPOCH.search(line):
            share = (completed + int(match[1]) / int(match[2])) / runs
            bar.update(share - done)
            done = share
        elif RESULT.fullmatch(line):
            completed += 1

    try:
        dvc("repro", "--single-item", name, folder=folder, show=show)
    except UserError as error:
        raise UserError("\n".join([*printed[-10:], str(error)])) from None
    bar.update(1 - done)  # a run can diverge before its last epoch, and a result can come from the cache
    results = [match[1] for line in printed if (match := RESULT.fullmatch(line))]
    return f"{name}: {results[-1] if results else 'from the cache' if runs else 'no runs'}"


def compute_all(names: list[str], folder: Path, count: int) -> list[str]:
    """Compute stages, `count` side by side, and return the errors of those that failed."""
    started = time.monotonic()
    errors = []
    silent = not names or not sys.stderr.isatty()
    with tqdm(total=len(names), bar_format=BAR, smoothing=0.02, disable=silent) as bar, Pool(count) as pool:
        futures = [pool.submit(compute, name, folder, bar) for name in names]
        for done, future in enumerate(as_completed(futures), start=1):
            try:
                result = future.result()
            except UserError as error:
                errors.append(result := str(error))
            left = (time.monotonic() - started) / done * (len(names) - done) / 60
            bar.write(f"{done}/{len(names)}, {left:.0f} min left: {result}", file=sys.stdout)
            sys.stdout.flush()
    return errors


def run(folder: Path, deciding: str, stages: tuple[str, ...], count: int, what: str = "replicates") -> None:
    """Compute those of the stages that are not up to date, `count` side by side. Raises UserError if one fails.

    deciding: as for `outdated`. what: the name of what the stages compute, in messages.
    """
    names = outdated(folder, deciding, stages)
    print(f"{len(names)} {what} to compute, {count} at a time.", flush=True)
    if names:
        output("repro", "prepare", folder=Path())  # once, since the replicates would all download missing files
    if errors := compute_all(names, folder, count):
        raise UserError(
            f"{len(errors)} of {len(names)} {what} failed; see the messages above. "
            "Fix the cause and run the same command to resume."
        )


def main() -> None:
    count = jobs()
    load_plan()  # reports mistakes before anything is computed
    load_recipes()
    CONFIRMATION.mkdir(parents=True, exist_ok=True)  # a dependency, even if no fresh seed is planned
    with alone("replicate"):
        run(PIPELINE, "fingerprint", STAGES, count)
        dvc("repro", folder=PIPELINE)
    for name in ("replication.md", "confirmation.md"):
        print((METRICS / name).read_text(), end="")


if __name__ == "__main__":
    take_no_arguments()
    end_together()
    main()
