"""Compute the replicates that are not up to date, several side by side, and then the analysis: `make replicate`.

`python -m replication.run 2`
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from replication.analysis.results import load_plan

PIPELINE = Path("replication")
RESULT = re.compile(r"\S+: (test accuracy .*|diverged)")
EPOCH = re.compile(r"epoch (\d+)/\d+:")


def dvc(*arguments: str) -> str:
    """Return the standard output of a DVC command in the replication's pipeline. Raises UserError if it fails."""
    command = ["dvc", *arguments]
    result = subprocess.run(command, cwd=PIPELINE, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"`{' '.join(command)}` failed in {PIPELINE}:\n{result.stderr.strip()}")
    return result.stdout


def outdated() -> list[str]:
    """Return the names of the stages that compute a replicate and are not up to date, in the order of the pipeline.

    The fingerprint is brought up to date first, since it decides which replicates are up to date.
    """
    dvc("repro", "--quiet", "--single-item", "fingerprint")
    return list(json.loads(dvc("status", "--json", "replicate", "control")))


def compute(name: str, epochs: "tqdm[Any]") -> str:
    """Compute one replicate, advance the bar with its epochs, and return its result. Raises UserError if it fails."""
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", name]
    printed, epoch = [""], 0
    with subprocess.Popen(
        command,
        cwd=PIPELINE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        close_fds=False,  # in particular make's lock, which is held until the last of these processes has ended
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line.strip())
            if match := EPOCH.search(line):
                epochs.update(int(match[1]) - epoch)
                epoch = int(match[1])
    if process.returncode:
        raise UserError(
            "\n".join([*printed[-10:], f"{name} failed. Fix the cause and run the same command to resume."])
        )
    results = [match[1] for line in printed if (match := RESULT.fullmatch(line))]
    return f"{name}: {results[-1] if results else 'from the cache'}"


def main(jobs: int) -> None:
    load_plan()  # reports mistakes before anything is computed
    names = outdated()
    print(f"{len(names)} replicates to compute, {jobs} at a time.")
    total = len(names) * load_params().train.epochs
    bar = tqdm(total=total, unit="epoch", smoothing=0.02, disable=not names or not sys.stderr.isatty())
    started = time.monotonic()
    executor = ThreadPoolExecutor(jobs)
    futures = [executor.submit(compute, name, bar) for name in names]
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            left = (time.monotonic() - started) / done * (len(names) - done) / 60
            bar.write(f"{done}/{len(names)}, {left:.0f} min left: {future.result()}", file=sys.stdout)
            sys.stdout.flush()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        bar.close()
    if subprocess.run(["dvc", "repro"], cwd=PIPELINE, check=False).returncode:
        raise UserError("The analysis of the replicates failed; see the messages above.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.run", description="Compute the replicates.")
    parser.add_argument("jobs", type=int, help="how many replicates to compute side by side")
    main(parser.parse_args().jobs)
