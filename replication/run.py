"""Compute what replicates are not up to date, several side by side, and then what joins them.

`python -m replication.run 2`
"""

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

from stages.errors import UserError
from stages.params import load_params

PIPELINE = Path("replication")
RESULT = re.compile(r"\S+: (test accuracy .*|diverged)")
EPOCH = re.compile(r"epoch (\d+)/\d+:")


def outdated() -> list[str]:
    """Names of the stages that compute a replicate and are not up to date, in the order of the pipeline."""
    command = ["dvc", "status", "--json", "replicate", "control"]
    result = subprocess.run(command, cwd=PIPELINE, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"`{' '.join(command)}` failed in {PIPELINE}:\n{result.stderr.strip()}")
    return list(json.loads(result.stdout))


def compute(name: str, epochs: "tqdm[Any]") -> str:
    """Compute one, moving the bar as its epochs end; returns what came out. Raises UserError when it fails."""
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", name]
    said, epoch = [""], 0
    with subprocess.Popen(
        command,
        cwd=PIPELINE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        close_fds=False,  # make's lock among them: it is held until the last of ours has ended
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if match := EPOCH.search(line):
                epochs.update(int(match[1]) - epoch)
                epoch = int(match[1])
    if process.returncode:
        raise UserError("\n".join([*said[-10:], f"{name} failed; mend that, and the same command goes on from here."]))
    results = [match[1] for line in said if (match := RESULT.fullmatch(line))]
    return f"{name}: {results[-1] if results else 'from the cache'}"


def main(jobs: int) -> None:
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
        raise UserError("Joining the replicates failed, see above.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.run", description="Compute the replicates.")
    parser.add_argument("jobs", type=int, help="how many side by side")
    main(parser.parse_args().jobs)
