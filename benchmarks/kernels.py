"""Measure the kernels of a training step beside the limit of one core, in GFLOP/s: `python -m benchmarks.kernels`.

The limit is a loop of multiply-adds in registers, with vectors of the same width. Each kernel is built with every
installed compiler, for every level of vectors that the processor supports. A multiply-add counts as two operations.
`CC=clang-19 python -m benchmarks.kernels` adds a compiler.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from commands.machine import VECTORS
from lenet5.network.native.build import FLAGS, MAIN, ZIG, compile_library, processor_levels, target_flags
from lenet5.support.errors import UserError

SOURCE = Path(__file__).with_name("kernels.c")
ROUNDS = 5
REPEATS = 100  # in each round

Programs = dict[tuple[str, str], Path]  # by vectors and compiler


def installed_compilers() -> dict[str, list[str]]:
    """Return the command of each C compiler: gcc, clang, Zig's, and $CC."""
    found = {name: [path] for name in ("gcc", "clang") if (path := shutil.which(name))}
    found["zig"] = ZIG
    if command := os.environ.get("CC"):
        found[command] = shlex.split(command)
    return found


def compiled(folder: Path) -> Programs:
    """Return kernels.c as a program in `folder`, for each level of vectors and each compiler that can build it."""
    programs: Programs = {}
    flags = [*(flag for flag in FLAGS if flag != "-shared"), f"-I{MAIN.parent}"]
    for level in processor_levels() or [""]:
        for name, command in installed_compilers().items():
            program = folder / f"kernels{len(programs)}"
            try:
                compile_library(command, [*flags, *target_flags(command, level)], SOURCE, program)
            except UserError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            programs[VECTORS.get(level, "default"), name] = program
    return programs


def measured(programs: Programs, rounds: int, repeats: int) -> dict[tuple[str, str], dict[str, float]]:
    """Return the GFLOP/s of the limit and of each kernel: the best of the rounds, in which the programs take turns."""
    best: dict[tuple[str, str], dict[str, float]] = {key: {} for key in programs}
    for _ in range(rounds):
        for key, program in programs.items():
            output = subprocess.run([str(program), str(repeats)], check=True, capture_output=True, text=True).stdout
            for kernel, rate in json.loads(output).items():
                best[key][kernel] = max(rate, best[key].get(kernel, 0.0))
    return best


def kernels(rounds: int = ROUNDS, repeats: int = REPEATS) -> dict[str, Any]:
    """Return for each level of vectors the limit, which is that of the compiler with the fastest loop, and for each
    compiler the GFLOP/s of each kernel and its share of the limit."""
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(compiled(Path(folder)), rounds, repeats)
    limits = {vectors: max(of["limit"] for key, of in rates.items() if key[0] == vectors) for vectors, _ in rates}
    result: dict[str, Any] = {vectors: {"limit": limit} for vectors, limit in limits.items()}
    for (vectors, compiler), of in rates.items():
        result[vectors][compiler] = {
            name: {"gflops": rate, "share": round(rate / limits[vectors], 3)}
            for name, rate in of.items()
            if name != "limit"
        }
    return result


def table(result: dict[str, Any]) -> str:
    """Return a table: one row per kernel, one column per level of vectors and compiler."""
    columns = [
        (f"{vectors} {compiler}", of)
        for vectors, compilers in result.items()
        for compiler, of in compilers.items()
        if compiler != "limit"
    ]
    limits = ", ".join(f"{vectors} {of['limit']:.1f}" for vectors, of in result.items())
    lines = [f"limit in GFLOP/s: {limits}", f"{'':20}" + "".join(f"{name:>20}" for name, _ in columns)]
    for kernel in columns[0][1]:
        cells = (f"{of[kernel]['gflops']:.1f} = {of[kernel]['share']:.0%}" for _, of in columns)
        lines.append(f"{kernel:20}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    take_no_arguments()
    print(table(kernels()))
