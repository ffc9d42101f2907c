"""Compile the C files to a shared library in the environment, once per source and kind of processor.

The compiler changes no byte of the results, so an existing library is reused whichever compiler built it. Only a
compiler named in the environment variable CC gets a library of its own.

Run `python -m lenet5.network.native.build` at set-up, so that a missing compiler is reported before any training.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch

from lenet5.network.model import CLASSES
from lenet5.support.errors import UserError
from lenet5.support.process import take_no_arguments

SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
MAIN = Path(__file__).with_name("lenet5.c")  # includes the others
LIBRARIES = Path(sys.prefix) / "lib" / "lenet5"
ZIG = [sys.executable, "-m", "ziglang", "cc"]  # which is clang
ZIG_CACHE = LIBRARIES / "zig"  # Zig's own choice, in the home folder, fails where there is none
# Contraction is off because the source decides which multiplications and additions are fused.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", f"-DCLASSES={CLASSES}"]
# Levels of x86-64, best first: the compilers' name for each and the processor features that it requires
V3 = ["avx2", "bmi", "bmi2", "f16c", "fma3", "lzcnt"]
LEVELS = {
    "x86-64-v4": ["avx512_f", "avx512_bw", "avx512_cd", "avx512_dq", "avx512_vl", *V3],
    "x86-64-v3": V3,
}


def compilers() -> list[list[str]]:
    """Return the commands of the C compilers to try, in order: $CC alone if it is set, else Zig's from the package
    ziglang, whose code is the fastest on most processors (docs/performance.md), and then cc.

    Raises UserError if there are none, or if $CC is not a valid command.
    """
    if command := os.environ.get("CC", "").strip():
        try:
            return [shlex.split(command)]
        except ValueError as error:
            raise UserError(f"The environment variable CC is not a valid command: {command!r} ({error}).") from None
    found = [ZIG] if importlib.util.find_spec("ziglang") else []
    if path := shutil.which("cc"):
        found.append([path])
    if not found:
        raise UserError(
            "The native backend needs a C compiler and none was found: install one (Debian, Ubuntu: apt install gcc) "
            "or run `pip install ziglang`, or set train.backend to torch in params.yaml."
        )
    return found


def processor_levels() -> list[str]:
    """Return the levels of LEVELS that this processor supports, best first. PyTorch's own choice of capability, which
    a user can override, does not matter."""
    features = torch.cpu.get_capabilities()
    return [level for level, required in LEVELS.items() if all(features.get(name) for name in required)]


def processor_level() -> str:
    """Return the best level that this processor supports, or "" if it is not an x86 processor.

    Raises UserError for an x86 processor without AVX2.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return ""  # 64-bit ARM always has NEON; other processors run the portable version of each kernel
    levels = processor_levels()
    if not levels:
        raise UserError(
            "The native backend needs a processor with AVX2, which this one lacks: set train.backend to torch in "
            "params.yaml."
        )
    return levels[0]


def target_flags(command: list[str], level: str) -> list[str]:
    """Return the compiler's flag for a level, which Zig spells with underscores."""
    is_zig = "ziglang" in command or Path(command[0]).name == "zig"
    return ["-march=" + (level.replace("-", "_") if is_zig else level)] if level else []


def compile_library(command: list[str], flags: list[str], source: Path, library: Path) -> None:
    """Compile `source` to `library`, which is complete as soon as it exists.

    Raises UserError if the compiler fails, with its messages, if it does not exist, or if the folder is not writable.
    """
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(ZIG_CACHE)} | os.environ
    writer = f"{platform.node()}-{os.getpid()}-{threading.get_native_id()}"  # others may share the folder
    unfinished = library.with_name(f"{library.name}.{writer}")
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*command, *flags, str(source), "-o", str(unfinished), "-lm"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            errors="replace",
        )
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(library)
    except subprocess.CalledProcessError as error:
        raise UserError(f"{shlex.join(error.cmd)} failed:\n{error.stderr}") from None
    except OSError as error:
        raise UserError(f"`{shlex.join(command)}` could not build {library}: {error}") from None


def library_path(level: str) -> Path:
    """Return the path of the library for a level, which a digest of the sources and options names."""
    options = " ".join([*FLAGS, level, os.environ.get("CC", "")])
    digest = hashlib.sha256(b"\0".join([*(path.read_bytes() for path in SOURCES), options.encode()])).hexdigest()
    return LIBRARIES / f"native-{digest[:16]}.so"


def require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"The native backend must be compiled for this processor, but {folder} cannot be written "
            f"({error.strerror}): make it writable, or set train.backend to torch in params.yaml."
        ) from None


def build() -> Path:
    """Return the path of the shared library for this processor, which is compiled if it does not exist yet.

    Raises UserError if no compiler can build it, with what each of them reported, if its folder cannot be written, or
    if a source file changed while it was compiled.
    """
    level = processor_level()
    library = library_path(level)
    if library.exists():
        return library
    require_writable(LIBRARIES)
    failures = []
    for command in compilers():
        try:
            compile_library(command, [*FLAGS, *target_flags(command, level)], MAIN, library)
        except UserError as error:
            failures.append(str(error))
        else:
            if library_path(level) != library:
                library.unlink()
                raise UserError(f"A file in {MAIN.parent} changed while it was compiled; run the same command again.")
            return library
    raise UserError(
        "\n".join(failures) + "\nThe native backend needs gcc 12 or later, or clang: install one, name it in the "
        "environment variable CC, or set train.backend to torch in params.yaml."
    )


if __name__ == "__main__":
    take_no_arguments()
    try:
        print(build())
    except UserError as error:
        sys.exit(str(error))
