"""What the programs `python` and `dvc` of quick_start do: let its server run a module, and end as that run ends.

It imports little, since it starts hundreds of times.
"""

import contextlib
import marshal
import os
import signal
import socket
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def request(
    address: str,
    module: str,
    arguments: list[str],
    *,
    folder: str,
    environment: dict[str, str],
    files: tuple[int, int, int] = (0, 1, 2),
    before: bytes = b"",
) -> socket.socket:
    """Ask the server to run a module in a folder, with these standard files. It first calls `before`, a pickle.

    Return the connection, over which the exit status comes as one byte, or none if the process is killed. A byte sent
    is a signal for the process; it is killed when the connection is closed, with those that it has started.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    ignored = [int(number) for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    cores = list(os.sched_getaffinity(0))
    # Version 2 interns no text: as arguments of a process, the texts are other objects than equal names in the code.
    content = marshal.dumps((module, arguments, folder, environment, cores, ignored, before), 2)
    socket.send_fds(connection, [len(content).to_bytes(8, "big")], files)
    connection.sendall(content)
    return connection


def exit_status(connection: socket.socket) -> int | None:
    """Return the exit status of the process when it has ended, or None if it was killed."""
    content = connection.recv(1)
    if not content:
        return None
    # The connection closes as the process ends, unless it has left another one in the background, as `dvc queue start`
    # does, which has the connection too.
    connection.settimeout(1)
    with contextlib.suppress(TimeoutError):
        connection.recv(1)
    return content[0]


def main(address: str, module: str, arguments: list[str]) -> None:
    """Run the module in this process's folder, with its environment and files, pass signals on, and end as it does."""
    connection = request(address, module, arguments, folder=os.getcwd(), environment=dict(os.environ))  # noqa: PTH109
    received = signal.SIGKILL

    def pass_on(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = signal.Signals(number)
        connection.send(bytes([number]))

    # Also those that this process ignores: others in its group, which a terminal would reach, need not ignore them.
    for number in SIGNALS:
        signal.signal(number, pass_on)
    status = exit_status(connection)
    if status is not None:
        os._exit(status)
    if received != signal.SIGKILL:
        signal.signal(received, signal.SIG_DFL)
    os.kill(os.getpid(), received)
