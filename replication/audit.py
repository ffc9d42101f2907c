"""Recompute replicates, drawn at random, and compare them with their files in metrics/: `make audit N=4`.

Each is computed in full in a temporary copy of the project, on the same data. Exit status 1 if one differs.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import random
import re
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from commands.interruption import Pool, end_together
from commands.pipeline import jobs
from commands.scratch import copies, link_raw_data
from lenet5.preparation.sources import raw_files
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import RAW
from replication.analysis.plan import load_plan
from replication.recipes.plan import load_recipes
from replication.runs import Run, planned, read_result


def recompute(run: Run, folder: Path) -> dict[str, Any]:
    """Return the content of a replicate, computed in `folder`, a copy of the project. Raises UserError on failure."""
    (folder / run.path).unlink(missing_ok=True)
    command = [sys.executable, "-m", *run.command]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"{run.path}: computing it failed:\n{result.stderr.strip()}")
    return read_result(folder / run.path)


def differences(path: Path, expected: dict[str, Any]) -> str:
    """Return the names of the values in which a replicate's file differs from what was computed again, with the first
    epoch that does, or what is wrong with the file."""
    try:
        found = read_result(path)
    except UserError as error:
        return str(error).removeprefix(f"{path} is ")
    names = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    pairs = zip_longest(*(each.get("validation_losses", []) for each in (found, expected)))
    epochs = [epoch for epoch, (old, new) in enumerate(pairs, start=1) if old != new]
    since = f" (from epoch {epochs[0]})" if epochs else ""
    return f"different{since}: {', '.join(names)}" if names else ""


def main(count: int) -> None:
    runs = planned(load_plan(), load_recipes())
    chosen = random.sample(runs, min(count, len(runs)))
    for run in chosen:
        if not run.path.exists():
            raise UserError(f"{run.path} is missing. Run `make replicate` to compute it.")
    print(f"Computing {len(chosen)} of {len(runs)} replicates again.", flush=True)
    # Once, since the replicates, which run side by side, would all download missing files.
    raw_files(RAW, load_params().data.sha256.model_dump(by_alias=True))
    different = 0
    with copies() as [folder], Pool(jobs()) as pool:
        link_raw_data(folder)
        for run, expected in zip(chosen, pool.map(lambda run: recompute(run, folder), chosen), strict=True):
            changed = differences(run.path, expected)
            different += bool(changed)
            print(f"{run.path}: {changed or 'equal'}", flush=True)
    if different:
        raise UserError(f"{different} of {len(chosen)} replicates differ from what this code computes.")
    print(f"All {len(chosen)} replicates are what this code computes, to the last digit.")


def positive(text: str) -> int:
    """Return a whole number of at least 1. Raises ArgumentTypeError, which argparse reports."""
    if not re.fullmatch(r"0*[1-9]\d*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    end_together()
    parser = argparse.ArgumentParser(
        prog="python -m replication.audit", description="Recompute and compare replicates."
    )
    parser.add_argument("count", type=positive, metavar="N", help="how many replicates to draw")
    main(parser.parse_args().count)
