"""Measure installations into an empty environment: `python -m benchmarks.installation COMMIT`.

COMMIT, with one list of packages for all commands, is compared with HEAD, which installs what the study needs and adds
what the tests need. Run it twice, for the second run finds everything in pip's cache. -> metrics/installation.json
"""

from lenet5.support.process import set_up

set_up()

import argparse
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

from commands.scratch import run, temporary_folder
from lenet5.support.files import write_json
from lenet5.support.paths import METRICS

# Without this environment's programs: a clone must not find the uv that is among them.
PATH = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != Path(sys.prefix) / "bin")


def megabytes(folder: Path) -> float:
    """Return the disk space that a folder takes."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / 1e6


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def installation(clone: Path, *arguments: str) -> dict[str, Any]:
    """Return what `make environment` takes in time, processor time and total disk space."""
    start, used = time.monotonic(), cpu_seconds()
    run("make", "environment", *arguments, folder=clone, environment={"PATH": PATH})
    return {
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(cpu_seconds() - used, 1),
        "megabytes": round(megabytes(clone / ".venv")),
    }


def cloned(commit: str, folder: Path) -> Path:
    run("git", "clone", "--quiet", "--no-local", ".", str(folder))
    run("git", "checkout", "--quiet", commit, folder=folder)
    return folder


def torch_version(clone: Path) -> str:
    return run(str(clone / ".venv/bin/python"), "-c", "import importlib.metadata as data; print(data.version('torch'))")


def main(commit: str) -> None:
    before = run("git", "rev-parse", "--short", f"{commit}^{{commit}}")
    with temporary_folder() as folder:
        old, new = cloned(before, folder / "before"), cloned(run("git", "rev-parse", "HEAD"), folder / "after")
        measured = {
            "before": {"commit": before} | installation(old),
            "study": installation(new),
            "tests": installation(new, "GROUP=test"),
        }
        machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
        versions = {"before": torch_version(old), "after": torch_version(new)}
        write_json(METRICS / "installation.json", {"machine": machine, "torch": versions} | measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.installation", description="Measure installations.")
    parser.add_argument("commit", metavar="COMMIT", help="the state to compare HEAD with")
    main(parser.parse_args().commit)
