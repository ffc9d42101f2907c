"""Compute the replicates and the runs of recipes that are not up to date, several side by side, and then the analysis:
`make replicate`."""

from lenet5.support.process import set_up

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
from replication.recipes.plan import load_recipes

PIPELINE = Path("replication")
STAGES = ("replicate", "control", "confirm", "longer", "search", "final")  # each of their stages computes one run
RESULT = re.compile(r"\S+: ((?:test|validation) accuracy .*|diverged)")
EPOCH = re.compile(r"epoch (\d+)/(\d+):")
BAR = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"  # runs, with the fractions of those in progress


def output(*arguments: str, folder: Path = PIPELINE) -> str:
    """Return the last line that a DVC command prints. Raises UserError if it fails."""
    lines: list[str] = [""]
    dvc(*arguments, folder=folder, show=lines.append)
    return lines[-1]


def outdated() -> list[str]:
    """Return the names of the stages that compute a replicate and are not up to date, in the order of the pipeline.

    The fingerprint is brought up to date first, since it decides which replicates are up to date.
    """
    output("repro", "--single-item", "fingerprint")
    return list(json.loads(output("status", "--json", *STAGES)))


def compute(name: str, bar: "tqdm[Any]") -> str:
    """Compute one replicate, advance the bar with its epochs, and return its result. Raises UserError if it fails."""
    printed, done = [""], 0.0

    def show(line: str) -> None:
        nonlocal done
        printed.append(line.strip())
        if match := EPOCH.search(line):
            share = int(match[1]) / int(match[2])
            bar.update(share - done)
            done = share

    try:
        dvc("repro", "--single-item", name, folder=PIPELINE, show=show)
    except UserError as error:
        raise UserError("\n".join([*printed[-10:], str(error)])) from None
    results = [match[1] for line in printed if (match := RESULT.fullmatch(line))]
    return f"{name}: {results[-1] if results else 'from the cache'}"


def compute_all(names: list[str], count: int) -> list[str]:
    """Compute replicates, `count` side by side, and return the errors of those that failed."""
    started = time.monotonic()
    errors = []
    silent = not names or not sys.stderr.isatty()
    with tqdm(total=len(names), bar_format=BAR, smoothing=0.02, disable=silent) as bar, Pool(count) as pool:
        futures = [pool.submit(compute, name, bar) for name in names]
        for done, future in enumerate(as_completed(futures), start=1):
            try:
                result = future.result()
            except UserError as error:
                errors.append(result := str(error))
            left = (time.monotonic() - started) / done * (len(names) - done) / 60
            bar.write(f"{done}/{len(names)}, {left:.0f} min left: {result}", file=sys.stdout)
            sys.stdout.flush()
    return errors


def main() -> None:
    count = jobs()
    load_plan()  # reports mistakes before anything is computed
    load_recipes()
    with alone("replicate"):
        names = outdated()
        print(f"{len(names)} replicates to compute, {count} at a time.", flush=True)
        if names:
            output("repro", "prepare", folder=Path())  # once, since the replicates would all download missing files
        if errors := compute_all(names, count):
            raise UserError(
                f"{len(errors)} of {len(names)} replicates failed; see the messages above. "
                "Fix the cause and run the same command to resume."
            )
        dvc("repro", folder=PIPELINE)
    for name in ("replication.md", "confirmation.md"):
        print((METRICS / name).read_text(), end="")


if __name__ == "__main__":
    end_together()
    main()
