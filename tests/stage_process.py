"""Stages in processes that start with their libraries loaded, and that a test can change or kill."""

import os
import pickle
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests import quick_client, quick_start


@dataclass(frozen=True)
class Ended:
    """The exit status of a process, negative if it was killed, and what it printed."""

    status: int
    output: str


def run(
    root: Path,
    stage: str,
    *arguments: str,
    before: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
    seconds: float | None = None,
) -> Ended:
    """Run `python -m stages.<stage> <arguments>` in `root`, and kill it after so many seconds.

    `before`, called first, must be picklable: it is part of a module of the tests, which loads the project's modules.
    """
    output = root.with_suffix(".output")  # outside the folder, which may be read-only
    with output.open("w+") as file, open(os.devnull) as nothing:  # noqa: PTH123
        connection = quick_client.request(
            str(quick_start.programs() / "socket"),
            f"stages.{stage}",
            list(arguments),
            folder=str(root),
            environment=os.environ | (environment or {}),
            files=(nothing.fileno(), file.fileno(), file.fileno()),
            before=pickle.dumps(before) if before else b"",
        )
        with connection:
            connection.settimeout(seconds)
            try:
                status = quick_client.exit_status(connection)
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(None)
                status = quick_client.exit_status(connection)
    printed = output.read_text()
    output.unlink()
    return Ended(-signal.SIGKILL if status is None else status, printed)
