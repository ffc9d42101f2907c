"""Time contenders in new processes, by turns, so that a change of the machine's speed affects all of them.

Results are medians over rounds, and ratios are medians of the ratios within a round; only shares of the limit, which is
itself the best of several rounds, are those of the shortest times.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks.contenders import EVALUATION, TRAINING
from benchmarks.kernels import installed_compilers
from commands.machine import VECTORS
from commands.pipeline import usable_cores
from lenet5.network.native.build import processor_levels
from lenet5.support.errors import UserError

CORES = usable_cores()
BATCH = 64
BATCHES = (16, 64, 256, 1024)
OURS = ("native", "torch")  # one thread each, so that every core gets a process
ALONE = ("native-", "peak", "limit")  # measured on one core only
MILLION, GIGA = 1e6, 1e9

Numbers = dict[str, float]
Round = dict[str, dict[int, list[Numbers]]]  # by contender and number of cores: one entry per process


def python(*arguments: str, **environment: str) -> Any:
    """Return what `python -m <arguments>` prints as JSON."""
    command, variables = [sys.executable, "-m", *arguments], os.environ | environment
    ended = subprocess.run(command, env=variables, check=False, stdout=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        raise UserError(f"`python -m {' '.join(arguments)}` failed; see the messages above.")
    return json.loads(ended.stdout)


def timed(contender: str, share: float, *arguments: str, **environment: str) -> list[Numbers]:
    numbers: list[Numbers] = python("benchmarks.timing", contender, str(share), *arguments, **environment)
    return numbers


def timed_together(contender: str, share: float, processes: int, cores: int, *options: str) -> list[Numbers]:
    """Return the results of processes side by side, on the first `cores` available cores; all start together.

    options: of `python -m benchmarks.timing`
    """
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    module = [sys.executable, "-m", "benchmarks.timing", "--wait", *options, contender, str(share), str(BATCH)]
    command = ["taskset", "--cpu-list", chosen, *module]
    with ExitStack() as stack:
        started = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(processes)
        ]
        for process in started:
            if not (process.stdout and process.stdout.readline()):
                raise UserError(f"{contender} ended before it was timed.")
        for process in started:
            print("go", file=process.stdin, flush=True)
        printed = [process.communicate()[0] for process in started]
    if any(process.returncode != 0 for process in started):
        raise UserError(f"{contender} failed while it was timed; see the messages above.")
    return [json.loads(text)[0] for text in printed]


def medians(rounds: list[Numbers]) -> Numbers:
    return {key: round(statistics.median(numbers[key] for numbers in rounds), 3) for key in rounds[0]}


def epochs(shares: dict[str, float], rounds: int) -> list[Round]:
    """Return the seconds per epoch for each round, contender and number of cores, one and all: of ours, one process per
    core, side by side; of a contender with its own threads, one process that may use them all."""
    results = []
    for number in range(rounds):
        of_round: Round = {}
        for name, share in shares.items():
            counts = [1] if name.startswith(ALONE) else sorted({1, CORES})
            of_round[name] = {n: timed_together(name, share, n if name in OURS else 1, n) for n in counts}
        results.append(of_round)
        line = ", ".join(f"{name} {usual(name, by)['epoch']:.2f}" for name, by in of_round.items())
        print(f"seconds per epoch, round {number + 1} of {rounds}: {line}", flush=True)
    return results


def usual(name: str, by: dict[int, list[Numbers]]) -> Numbers:
    """Return the numbers of a contender in its usual way: of ours on one core, of the others on all."""
    return by[1 if name in OURS else max(by)][0]


def per_minute(processes: list[Numbers]) -> float:
    """Return the epochs per minute of processes side by side."""
    return sum(60 / numbers["epoch"] for numbers in processes)


def by_cores(rounds: list[Round]) -> dict[str, Numbers]:
    """Return the epochs per minute, for each contender and number of cores."""
    names = [name for name in rounds[0] if not name.startswith(ALONE)]
    return {
        name: medians([{str(n): per_minute(processes) for n, processes in r[name].items()} for r in rounds])
        for name in names
    }


def factors(rounds: list[Round]) -> dict[str, Numbers]:
    """Return how many times as many epochs ours trains in the time of each contender, on as many cores."""
    names = [name for name in rounds[0] if not name.startswith((*ALONE, "native"))]
    return {
        name: medians(
            [
                {str(n): per_minute(r["native"][n]) / per_minute(processes) for n, processes in r[name].items()}
                for r in rounds
            ]
        )
        for name in names
    }


def by_batch_size(shares: dict[str, float], rounds: int) -> dict[str, Numbers]:
    """Return the microseconds per image in training, for each contender and batch size."""
    sizes = [str(size) for size in BATCHES]
    results = [{name: timed(name, share, *sizes) for name, share in shares.items()} for _ in range(rounds)]
    return {
        name: medians(
            [
                {size: MILLION * f["train"] / 48_000 for size, f in zip(sizes, of_round[name], strict=True)}
                for of_round in results
            ]
        )
        for name in shares
    }


def shares_of_limit(seconds: Numbers, gflops: float) -> Numbers:
    """Return how long the multiply-adds of training, of evaluation and of an epoch take at this rate, as shares of the
    seconds of each."""
    operations = {"train": 2 * TRAINING, "evaluate": 2 * EVALUATION, "epoch": 2 * (TRAINING + EVALUATION)}
    return {part: round(count / (gflops * GIGA) / seconds[part], 3) for part, count in operations.items()}


def by_compiler(kernels: dict[str, Any], share: float, rounds: int) -> dict[str, dict[str, Numbers]]:
    """Return the seconds of our epoch and their shares of the limit, for each level of vectors and compiler: like those
    of the kernels, the shortest over the rounds, in which they take turns.

    kernels: what `benchmarks.kernels.kernels` returns, with the limits.
    """
    commands = {name: shlex.join(command) for name, command in installed_compilers().items()}
    levels = {VECTORS[level]: level for level in processor_levels()}
    result: dict[str, dict[str, Numbers]] = {}
    for vectors, of in kernels.items():
        level = ["--level", levels[vectors]] if vectors in levels else []
        results: dict[str, list[Numbers]] = {name: [] for name in of if name != "limit"}
        for _ in range(rounds):
            for name, times in results.items():
                (seconds,) = timed("native", share, str(BATCH), *level, CC=commands[name])
                times.append({part: seconds[part] for part in ("train", "evaluate", "epoch")})
        result[vectors] = {name: with_shares(shortest(times), of["limit"]) for name, times in results.items()}
    return result


def shortest(rounds: list[Numbers]) -> Numbers:
    """Return the shortest times of training and evaluation, and their sum, an epoch."""
    times = {part: min(numbers[part] for numbers in rounds) for part in ("train", "evaluate")}
    return {part: round(seconds, 3) for part, seconds in (times | {"epoch": sum(times.values())}).items()}


def with_shares(seconds: Numbers, gflops: float) -> Numbers:
    """Return the seconds, and the shares of them that the multiply-adds take at the limit of one core."""
    shares = shares_of_limit(seconds, gflops)
    return seconds | {f"limit / {part}": share for part, share in shares.items()}
