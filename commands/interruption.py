"""Ending a command together with all processes that it has started."""

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType

import psutil

INTERVAL = 0.1  # seconds between two looks at other processes
GRACE = 1.5  # seconds in which a process ends after the processes that it has started


def end_together() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP end this process with all its descendants. Call it once, in the main thread.

    A hang-up of the `make` that has started it counts, too. What is ignored, as SIGHUP under nohup, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)
    threading.Thread(target=_watch_make, args=(os.getppid(),), daemon=True).start()


class Pool(ThreadPoolExecutor):
    """Threads that start processes. An error in its `with` block ends these and drops the work that has not begun."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=kind is None, cancel_futures=True)
        if kind is not None:
            end_descendants()


def end_descendants() -> None:
    """End the processes that this one has started, each after those that it has started itself.

    A `dvc` ends when its stages do. Killed earlier, it might tear the dvc.lock that it is writing.
    """
    deadline = time.monotonic() + GRACE
    children = psutil.Process().children()
    while children := [child for child in children if _is_running(child)]:
        for child in children:
            with contextlib.suppress(psutil.Error):
                for descendant in child.children(recursive=True):
                    descendant.terminate()
                if time.monotonic() > deadline:
                    child.kill()
        time.sleep(INTERVAL)


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # a zombie waits for its parent, which is this process
    except psutil.NoSuchProcess:
        return False


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    end_descendants()
    raise KeyboardInterrupt


def _catches_hangup(process: int) -> bool:
    """Return whether a process has a handler for SIGHUP; only Linux shows this."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) & 1 << (signal.SIGHUP - 1))
    return False


def _watch_make(parent: int) -> None:
    """Hang up this process when its parent, GNU make, has been hung up.

    Make passes SIGTERM on to its children, but not SIGHUP: it drops its handler and waits for them to end.
    """
    if not _catches_hangup(parent):
        return
    while os.getppid() == parent and _catches_hangup(parent):
        time.sleep(INTERVAL)
    if os.getppid() == parent:
        os.kill(os.getpid(), signal.SIGHUP)
