"""The stages of the study. Importing the package sets what torch reads when it is loaded, so it comes before torch.

The libraries choose their kernels by the processor, and with them the order in which they add. AVX2 is what x86-64
machines of the last decade have in common: capped to it, two such machines take the same kernels.

What must hold while torch is being loaded, which takes seconds, is here too: who started this process, and what Ctrl-C
says.
"""

import contextlib
import os
import platform
import signal
import sys
from types import TracebackType

if platform.machine() in ("x86_64", "AMD64"):
    os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="AVX2")

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without which CUDA's matrix products are not deterministic

PARENT = os.getppid()


def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C is no fault: a sentence in place of the traceback, then the end by that signal, as shells expect it."""
    if issubclass(kind, KeyboardInterrupt):
        with contextlib.suppress(OSError):  # the reader of a pipe may be gone first
            print("\nInterrupted. The same command goes on from here.", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = excepthook
