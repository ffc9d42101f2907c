"""Time the study next to a standard PyTorch loop and other libraries: `make benchmark`.

The contenders take turns, each round in new processes, so that a change of the machine's speed affects all of them.
Results are medians over rounds, and ratios are medians of the ratios within a round. -> metrics/benchmark.json
"""

from lenet5.support.process import set_up

set_up()

import importlib.metadata
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

from benchmarks.study import study_seconds
from commands.machine import machine
from lenet5.support.errors import UserError
from lenet5.support.files import write_json
from lenet5.support.params import BASELINE, Params, load_params, technique_settings
from lenet5.support.paths import METRICS

ROUNDS = 5
CORES = len(os.sched_getaffinity(0))
WORKERS = sorted({0, 1, 2, CORES})  # of the standard PyTorch loop; the fastest counts
# Contender -> the share of an epoch that is timed.
SHARES = {
    # a larger share with workers, which start once per epoch
    **{f"reference-{workers}": 0.3 if workers else 0.1 for workers in WORKERS},
    "torch": 0.2,
    "jax": 0.2,
    "keras": 0.2,
    "native": 1.0,
    "native-batch_norm": 1.0,
    "native-dropout": 1.0,
    "native-weight_decay": 1.0,
    "peak": 1.0,
}
# The settings that are fixed in the other contenders.
COMPARED = {
    "subset": 1.0,
    "validation_fraction": 0.2,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "schedule": "constant",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "batch_norm": False,
    "dropout": 0.0,
    "device": "cpu",
}
BATCH = 64
BATCHES = (16, 64, 256, 1024)
# Full batches of each of these sizes, so that compilation for a smaller last batch is not timed.
SCALED = {"torch": 5_120 / 48_000, "jax": 10_240 / 48_000, "native": 20_480 / 48_000}
SCALED_ROUNDS = 3
MILLION = 1e6

Numbers = dict[str, float]


def python(*arguments: str, **environment: str) -> Any:
    """Return what `python -m <arguments>` prints as JSON."""
    command, variables = [sys.executable, "-m", *arguments], os.environ | environment
    return json.loads(subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed(contender: str, share: float, *batches: int, **environment: str) -> list[Numbers]:
    numbers: list[Numbers] = python("benchmarks.timing", contender, str(share), *map(str, batches), **environment)
    return numbers


def timed_together(contender: str, share: float, processes: int, cores: int) -> list[Numbers]:
    """Return the results of processes side by side, on the first `cores` available cores; all start together."""
    chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    module = [sys.executable, "-m", "benchmarks.timing", "--wait", contender, str(share), str(BATCH)]
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
        return [json.loads(process.communicate()[0])[0] for process in started]


def medians(rounds: list[Numbers]) -> Numbers:
    return {key: round(statistics.median(numbers[key] for numbers in rounds), 3) for key in rounds[0]}


def epochs(rounds: int) -> list[dict[str, Numbers]]:
    """Return the seconds per epoch, for each round and contender."""
    results = []
    for number in range(rounds):
        results.append({name: timed(name, share, BATCH)[0] for name, share in SHARES.items()})
        line = ", ".join(f"{name} {numbers['epoch']:.2f}" for name, numbers in results[-1].items())
        print(f"seconds per epoch, round {number + 1} of {rounds}: {line}", flush=True)
    return results


def by_batch_size(shares: dict[str, float]) -> dict[str, Numbers]:
    """Return the microseconds per image in training, for each contender and batch size."""
    rounds = []
    for _ in range(SCALED_ROUNDS):
        rounds.append({name: timed(name, share, *BATCHES) for name, share in shares.items()})
    return {
        name: medians(
            [
                {str(size): MILLION * f["train"] / 48_000 for size, f in zip(BATCHES, of_round[name], strict=True)}
                for of_round in rounds
            ]
        )
        for name in shares
    }


def by_cores(shares: dict[str, float]) -> dict[str, Numbers]:
    """Return the epochs per minute, for each contender and number of cores: for ours, one run per core, side by side;
    for a contender with its own threads, one run that may use all cores."""
    counts = sorted({CORES, *(2**power for power in range(CORES.bit_length()))})
    rounds = []
    for _ in range(SCALED_ROUNDS):
        rates: dict[str, Numbers] = {name: {} for name in shares}
        for cores in counts:
            for name, share in shares.items():
                processes = cores if name in ("native", "torch") else 1
                together = timed_together(name, share, processes, cores)
                rates[name][str(cores)] = sum(60 / numbers["epoch"] for numbers in together)
        rounds.append(rates)
    return {name: medians([rates[name] for rates in rounds]) for name in shares}


def by_compiler() -> Numbers:
    """Return the seconds of our epoch with each installed compiler."""
    commands = {name: path for name in ("gcc", "clang") if (path := shutil.which(name))}
    commands["zig"] = shlex.join([sys.executable, "-m", "ziglang", "cc"])
    rounds = []
    for _ in range(SCALED_ROUNDS):
        rounds.append({name: timed("native", 1.0, BATCH, CC=command)[0]["epoch"] for name, command in commands.items()})
    return medians(rounds)


def study_beside(reference: str) -> Numbers:
    """Return the seconds of the study, and those that the standard loop would need for its epochs.

    One epoch of the loop is timed just before and one just after the study, since a machine's speed drifts in minutes.
    """
    before = timed(reference, 1.0, BATCH)[0]["epoch"]
    seconds = study_seconds()
    after = timed(reference, 1.0, BATCH)[0]["epoch"]
    params = load_params()
    epochs = sum(technique.get("epochs", params.train.epochs) for technique in params.techniques.values())
    return seconds | {"standard loop": epochs * (before + after) / 2}


def require_what_is_compared(params: Params) -> None:
    """Raise UserError if params.yaml has other data or settings than those fixed in the other contenders."""
    found = params.data.model_dump() | technique_settings(params, BASELINE).model_dump()
    for name, value in COMPARED.items():
        if found[name] != value:
            raise UserError(
                f"{name} of {BASELINE} is {found[name]} in params.yaml, but the other contenders of the benchmark use "
                f"{value}. Change it for the benchmark, or run it in a fresh clone."
            )
    for name in SHARES:
        if name.startswith("native-"):
            technique_settings(params, name.removeprefix("native-"))


def main() -> None:
    require_what_is_compared(load_params())
    rounds = epochs(ROUNDS)
    seconds = {name: medians([of_round[name] for of_round in rounds]) for name in SHARES}
    best = min((name for name in SHARES if name.startswith("reference")), key=lambda name: seconds[name]["epoch"])

    def ratio(slower: str, faster: str) -> float:
        return round(statistics.median(r[slower]["epoch"] / r[faster]["epoch"] for r in rounds), 2)

    parts = medians([python("benchmarks.breakdown") for _ in range(SCALED_ROUNDS)])
    print(f"parts of an epoch: {parts}", flush=True)
    seconds_by_compiler = by_compiler()
    print(f"seconds per epoch of ours, by compiler: {seconds_by_compiler}", flush=True)
    per_image = by_batch_size({best: SHARES[best], **SCALED})
    print(f"microseconds per image: {per_image}", flush=True)
    per_minute = by_cores({name: SHARES[name] for name in (best, *SCALED)})
    print(f"epochs per minute: {per_minute}", flush=True)
    study = study_beside(best)
    content = {
        "machine": {
            **machine(),
            "cores": CORES,
            **{name: importlib.metadata.version(name) for name in ("jax", "keras")},
        },
        "rounds": ROUNDS,
        "reference": best,
        "seconds_per_epoch": seconds,
        "ratios": {
            **{f"{name} / native": ratio(name, "native") for name in (best, "torch", "jax", "keras")},
            f"{best} / torch": ratio(best, "torch"),
            **{f"{name} / native": ratio(name, "native") for name in SHARES if name.startswith("native-")},
            "peak / native": ratio("peak", "native"),
            f"study by {best} / study": round(study["standard loop"] / study["study"], 2),
        },
        "parts_of_an_epoch": parts,
        "seconds_per_epoch_by_compiler": seconds_by_compiler,
        "microseconds_per_image": per_image,
        "epochs_per_minute": per_minute,
        "seconds": {name: round(value, 2) for name, value in study.items()},
    }
    write_json(METRICS / "benchmark.json", content)
    print(json.dumps(content["ratios"], indent=2))


if __name__ == "__main__":
    main()
