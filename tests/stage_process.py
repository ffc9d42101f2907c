"""Stages in processes that start with torch loaded, so that dozens of runs do not each spend seconds on imports."""

import contextlib
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch._dynamo  # noqa: F401  # the first optimizer would load it

from lenet5.support.errors import UserError

# The server that forks the stages loads them once.
from stages import check, evaluate, plot, prepare, select, summary, theory, train  # noqa: F401

processes = multiprocessing.get_context("forkserver")
# The last three define what is called `before` a stage.
PRELOADED = ["tests.stage_process", "tests.test_changes", "tests.test_faults", "tests.test_resume"]
processes.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Ended:
    """The exit status of a process, negative for the number of a signal, and what it printed."""

    status: int | None
    output: str


def start(
    root: Path,
    stage: str,
    *arguments: str,
    before: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> BaseProcess:
    """Start `python -m stages.<stage> <arguments>` in `root`. `before`, called first, must be picklable."""
    process = processes.Process(target=_run, args=(root, stage, arguments, before, environment or {}))
    with contextlib.chdir(Path(__file__).parents[1]):  # where the server, which the first call starts, finds `tests`
        process.start()
    return process


def run(
    root: Path,
    stage: str,
    *arguments: str,
    before: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> Ended:
    """Run a stage as `start` does, and wait for its end."""
    process = start(root, stage, *arguments, before=before, environment=environment)
    process.join()
    output = _output(root).read_text()
    _output(root).unlink()
    return Ended(process.exitcode, output)


def _output(root: Path) -> Path:
    """Return the path of the output, outside the folder, which may be read-only."""
    return root.with_suffix(".output")


def _run(
    root: Path,
    stage: str,
    arguments: tuple[str, ...],
    before: Callable[[], None] | None,
    environment: dict[str, str],
) -> None:
    os.chdir(root)
    os.environ.update(environment)
    output = os.open(_output(root), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if before:
        before()
    try:
        importlib.import_module(f"stages.{stage}").main(*arguments)
    except UserError:
        sys.excepthook(*sys.exc_info())  # multiprocessing does not call the hook
        sys.exit(1)
