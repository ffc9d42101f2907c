"""What each program sets in its process, so that equal inputs give equal bytes. The library itself sets nothing."""

import contextlib
import ctypes
import os
import platform
import signal
import sys
import threading
import time
from types import TracebackType

from lenet5.support.errors import UserError

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def set_up() -> None:
    """Set up this process as one of the project's programs. Call it once, before PyTorch is loaded.

    Sets the environment variables that PyTorch's libraries read, prints a UserError as a message (exit status 1) and
    Ctrl-C as one line, and ends the process when the `dvc` that started it has ended.
    """
    # The libraries choose their kernels, and with them the order of their sums, by the processor. Every x86-64 machine
    # of the last decade has AVX2: limited to it, all of them choose the same kernels.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2")
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it, CUDA's matrix products are not deterministic
    # Settings of a user's that would stop matplotlib, or the Python, DVC and shell that this process starts.
    for name in ("MPLBACKEND", "PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONWARNINGS"):
        os.environ.pop(name, None)
    os.environ["SHELL"] = "/bin/sh"
    sys.excepthook = _report
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


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


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The excepthook of the programs."""
    if issubclass(kind, UserError):
        print(error, file=sys.stderr, flush=True)
    elif issubclass(kind, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # the reader of a pipe may have ended first
            print("\nInterrupted. Run the same command again to resume.", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # shells expect a process to end by the signal itself
    else:
        sys.__excepthook__(kind, error, trace)


def _end_with_parent(parent: int) -> None:
    """End this process when its parent has ended: its result would not be recorded, and the same command, run
    again, would wait for it. Ending is safe at any time: files are complete or absent, and training resumes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
