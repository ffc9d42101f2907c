"""What this machine computes with: processor, vectors, compiler and versions."""

import platform
import subprocess
from pathlib import Path

import torch

from lenet5.network.native.build import compilers, processor_levels
from lenet5.support.errors import UserError

CPUINFO = Path("/proc/cpuinfo")  # of Linux
VECTORS = {"x86-64-v4": "AVX-512", "x86-64-v3": "AVX2"}


def machine() -> dict[str, str]:
    """Return a description of this machine and its software."""
    levels = processor_levels()
    return {
        **processor(CPUINFO.read_text() if CPUINFO.exists() else ""),
        "vectors": VECTORS[levels[0]] if levels else f"the default of {platform.machine()}",
        "compiler": compiler(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor(cpuinfo: str) -> dict[str, str]:
    """Return the name of the processor, and its family and model: virtual machines often hide the name."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}  # those of the last one; all are the same
    numbers = [f"{name.split()[-1]} {values[name]}" for name in ("cpu family", "model") if name in values]
    return {"processor": values.get("model name", platform.machine()), "model": ", ".join(numbers)}


def compiler() -> str:
    """Return the name and version of the C compiler that is tried first, or that there is none."""
    try:
        asked = subprocess.run([*compilers()[0], "--version"], check=True, capture_output=True, text=True)
        return asked.stdout.splitlines()[0]
    except (UserError, OSError, subprocess.CalledProcessError, IndexError):
        return "none that runs"
