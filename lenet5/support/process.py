"""What each program sets in its process, so that equal inputs give equal bytes, and what its result is computed from.

The library itself sets nothing.
"""

import argparse
import atexit
import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import platform
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from lenet5.support.errors import UserError

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
# Git sets these in hooks. They would redirect git and DVC from the folder in which they run, such as a copy of the
# project, to the user's repository and index. The list is that of `git rev-parse --local-env-vars`, without those that
# hold configuration.
GIT_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip

PACKAGES = ("lenet5", "stages", "replication")  # whose code a result may depend on
T = TypeVar("T")
Version = tuple[int, int]  # of a file: its time in ns, and its size


def versions(paths: Iterable[Path]) -> dict[Path, Version]:
    """Return the version of each file, and of those in each folder. Missing files are left out."""
    found = {}
    for path in (file for given in paths for file in (given, *given.rglob("*"))):
        with contextlib.suppress(OSError):
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


def digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the sha256 of each file. Missing files are left out."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.exists()}


def loaded_sources() -> set[Path]:
    """Return the project's source files that this process has loaded, with the C files next to them."""
    modules = {module for name, module in sys.modules.items() if name.split(".")[0] in (*PACKAGES, "__main__")}
    files = {Path(file) for module in modules if (file := getattr(module, "__file__", None))}
    return files | {source for file in files for source in file.parent.glob("*.[ch]")}


# Taken before the other modules are loaded, which takes a second or two.
AT_START = versions(Path(__file__).parents[2] / package for package in PACKAGES)


class Inputs(Generic[T]):
    """What a result is computed from: the parameters, files of data, and the source files that are loaded.

        inputs = Inputs(load_params, PREPARED)
        ...  # compute the result from inputs.parameters and the files in PREPARED
        inputs.require_unchanged()
        write_json(path, result)

    DVC reads all of them when a command has ended, and records the result as computed from what it finds then.
    `read` returns the parameters; each path is a file, or a folder of files, to be read later.
    """

    def __init__(self, read: Callable[[], T], *paths: Path) -> None:
        sources = loaded_sources()
        self.sources = digests(sources)
        loaded = versions(sources)
        _report_changes({path for path in loaded if loaded[path] != AT_START.get(path, loaded[path])})
        self._read, self._paths = read, paths
        self._versions = versions(paths)
        self._parameter_files = [Path("params.yaml"), *Path("replication").rglob("*.yaml")]
        self._parameter_versions = versions(self._parameter_files)
        self.parameters = read()

    def require_unchanged(self) -> None:
        """Raise UserError if any of them has changed. Call this before the result is written."""
        changed = {path for path, _ in self.sources.items() ^ digests(self.sources).items()}
        changed |= {path for path, _ in self._versions.items() ^ versions(self._paths).items()}
        try:
            unchanged = self._read() == self.parameters
        except UserError:  # they are no longer valid
            unchanged = False
        if not unchanged:
            edited = self._parameter_versions.items() ^ versions(self._parameter_files).items()
            changed |= {path for path, _ in edited} or {Path("params.yaml")}
        _report_changes(changed)


def _report_changes(changed: set[Path]) -> None:
    if changed:
        raise UserError(
            f"{', '.join(sorted(map(os.path.relpath, changed)))} changed during this run. Its result is discarded, "
            "since DVC would record it as that of the changed content. Run the same command again."
        )


@functools.cache
def set_up() -> None:
    """Set up this process as one of the project's programs. Call it before PyTorch is loaded; later calls do nothing.

    Sets the environment variables that PyTorch's libraries read, removes those that git sets in hooks, prints a
    UserError as a message (exit status 1) and Ctrl-C as one line, opens /dev/null in place of closed standard streams,
    and ends the process when the `dvc` that started it has ended.
    """
    _open_standard_streams()
    # The libraries choose their kernels, and with them the order of their sums, by the processor. Every x86-64 machine
    # of the last decade has AVX2: limited to it, all of them choose the same kernels.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it, CUDA's matrix products are not deterministic
    # User settings that would break matplotlib, or the Python, DVC and shell that this process starts.
    for name in ("MPLBACKEND", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONWARNINGS", *GIT_VARIABLES):
        os.environ.pop(name, None)
    os.environ["SHELL"] = "/bin/sh"
    try:
        Path.home()
    except RuntimeError:  # a user without a home directory, for whom DVC would crash
        os.environ["HOME"] = tempfile.gettempdir()
    os.environ["MATPLOTLIBRC"] = os.devnull  # a user's own style would change the figures
    sys.excepthook = _report
    atexit.register(_flush_output)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def take_no_arguments() -> None:
    """End this process with an error if it has arguments, or print what the program does for `--help`."""
    program = sys.modules["__main__"]
    name = program.__spec__.name.removesuffix(".__main__") if program.__spec__ else Path(sys.argv[0]).stem
    description = (program.__doc__ or "").split("\n\n")[0]
    argparse.ArgumentParser(prog=f"python -m {name}", description=description).parse_args()


def set_up_torch() -> None:
    """Make PyTorch deterministic and fast on small batches.

    One thread, because the number of threads changes the order of sums; runs train side by side instead. Deterministic
    kernels, without filling new tensors first: none is read before it is written. Denormal numbers become zero: Adam's
    averages of vanished gradients are full of them and would take twice the time. Freed memory is kept: glibc would
    return an activation of 1 MB to the system after each step, which costs the torch backend a third of its time.
    """
    import torch  # noqa: PLC0415  # set_up comes first, and programs without tensors never load it

    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms loads the compiler: one second
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)


def _open_standard_streams() -> None:
    """Open /dev/null in place of standard input, output and error where they are closed. The next file to be opened
    would get the number of the closed one, and be written into by everything that prints."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _is_output_error(error: BaseException) -> bool:
    """Return whether what a program prints could not be written. An error of a named file has its name."""
    return isinstance(error, OSError) and error.filename is None and error.errno in (errno.EPIPE, errno.ENOSPC)


def _end_without_output(error: BaseException) -> None:
    """End this process because nobody reads what it prints, as the system does it, or because a device is full."""
    if isinstance(error, BrokenPipeError):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    with contextlib.suppress(OSError):
        print("Cannot write the output: No space left on device.", file=sys.stderr, flush=True)
        _print_way_back()
    os._exit(1)


def _flush_output() -> None:
    try:
        sys.stdout.flush()
    except OSError as error:
        _end_without_output(error)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Handle an uncaught exception, as sys.excepthook."""
    if issubclass(kind, UserError):
        print(error, file=sys.stderr, flush=True)
        _print_way_back()
    elif _is_output_error(error):
        _end_without_output(error)
    elif issubclass(kind, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # the reader of a pipe may have ended first
            print("\nInterrupted. Run the same command again to resume.", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # shells expect a process to end by the signal itself
    else:
        sys.__excepthook__(kind, error, trace)
        _print_way_back()


def _print_way_back() -> None:
    """Print the command that restores the results in git which are missing: DVC deletes those of a stage before it
    runs."""
    if "DVC_STAGE" not in os.environ:
        return
    command = ("git", "ls-files", "--deleted", "--full-name", "metrics", "models", "data")
    with contextlib.suppress(OSError):  # git is not installed
        missing = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        if missing:
            paths = " ".join(f":/{path}" for path in missing)  # from the repository's top folder
            print(
                "DVC deletes the results of a stage before it runs. To restore those in git that are missing now, run: "
                f"git checkout -- {paths}",
                file=sys.stderr,
                flush=True,
            )


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended: its result would not be recorded, and the same command, run
    again, would wait for it. Ending is safe at any time: files are complete or absent, and training resumes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
