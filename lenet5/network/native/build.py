"""Builds the C files into a shared library of the environment, once for a source and a kind of processor. Which
compiler does it changes no byte of the results, so what is there serves; only one that $CC names has a library of its
own.

Run at set-up, so that a machine without a compiler says so before anything is trained: python -m lenet5.network.native.build
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from lenet5.support.errors import UserError

SOURCES = sorted(Path(__file__).parent.glob("*.[ch]"))
MAIN = Path(__file__).with_name("lenet5.c")  # includes the others
LIBRARIES = Path(sys.prefix) / "lib" / "lenet5"
# Contraction off: which multiplications and additions are fused is for the source to say, not for the compiler.
FLAGS = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden"]
# What x86-64 processors are asked for, best first: the name compilers have for them, and the features it promises.
LEVELS = {
    "x86-64-v4": ["avx512_f", "avx512_bw", "avx512_cd", "avx512_dq", "avx512_vl", "avx2", "fma3"],
    "x86-64-v3": ["avx2", "fma3"],
}


def compilers() -> list[list[str]]:
    """The commands for C compilers that may serve, the first choice first: $CC alone where it is set, else cc, then
    Zig's from the package ziglang, for a cc that is too old.

    Raises UserError where there is none, or $CC is no command.
    """
    if command := os.environ.get("CC", "").strip():
        try:
            return [shlex.split(command)]
        except ValueError as error:
            raise UserError(f"The environment variable CC is no command: {command!r} ({error}).") from None
    found = [[path]] if (path := shutil.which("cc")) else []
    if importlib.util.find_spec("ziglang"):
        found.append([sys.executable, "-m", "ziglang", "cc"])
    if not found:
        raise UserError(
            "No C compiler for the native backend: install one (Debian, Ubuntu: apt install gcc) or "
            "`pip install ziglang`, or set train.backend to torch in params.yaml."
        )
    return found


def processor_levels() -> list[str]:
    """The levels of LEVELS that this processor runs, best first. Unlike the capability that PyTorch reports, what it is
    told to use does not enter."""
    has = torch.cpu.get_capabilities()
    return [level for level, features in LEVELS.items() if all(has.get(name) for name in features)]


def processor_level() -> str:
    """The best of them; "" for no x86. Raises UserError for an x86 processor without AVX2."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ""  # 64-bit ARM always has NEON; elsewhere the C file's portable version serves
    levels = processor_levels()
    if not levels:
        raise UserError("This processor has no AVX2, which the native backend needs: set train.backend to torch.")
    return levels[0]


def target_flags(command: list[str], level: str) -> list[str]:
    """The compiler's flag for a level, which Zig spells otherwise."""
    return ["-march=" + (level.replace("-", "_") if "ziglang" in command else level)] if level else []


def compile_library(command: list[str], flags: list[str], library: Path) -> None:
    """Compiles MAIN to `library`, which is not there or whole at any moment. Raises UserError with what the compiler
    says where it fails, where there is none of that name, or where the folder cannot be written to."""
    unfinished = library.with_name(f"{library.name}.{platform.node()}-{os.getpid()}")  # others may share the folder
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [*command, *flags, str(MAIN), "-o", str(unfinished), "-lm"], check=True, capture_output=True, text=True
        )
        unfinished.replace(library)
    except subprocess.CalledProcessError as error:
        raise UserError(f"{' '.join(error.cmd)} failed:\n{error.stderr}") from None
    except OSError as error:
        raise UserError(f"`{shlex.join(command)}` could not build {library}: {error}") from None


def build() -> Path:
    """The shared library for this processor, compiled unless it is there already. Raises UserError, see above."""
    level = processor_level()
    asked_for = " ".join([*FLAGS, level, os.environ.get("CC", "")])
    digest = hashlib.sha256(b"\0".join([*(path.read_bytes() for path in SOURCES), asked_for.encode()])).hexdigest()
    library = LIBRARIES / f"native-{digest[:16]}.so"
    if library.exists():
        return library
    failures = []
    for command in compilers():
        try:
            compile_library(command, [*FLAGS, *target_flags(command, level)], library)
            return library
        except UserError as error:
            failures.append(str(error))
    raise UserError(
        "\n".join(failures) + "\nThe native backend takes gcc 12 or later, or clang: install one, name it in the "
        "environment variable CC, or set train.backend to torch in params.yaml."
    )


if __name__ == "__main__":
    print(build())
