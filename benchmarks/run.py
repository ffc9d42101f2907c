"""The study's speed beside that of the usual loop and of other libraries: `make benchmark`.

The contenders take turns, each round in new processes, so that a change of the machine's speed meets all of them; the
figures are medians over rounds, and the ratios are medians of the ratios within a round. -> metrics/benchmark.json
"""

import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.study import study_seconds
from stages.errors import UserError
from stages.files import write_json
from stages.native.build import compilers, processor_level
from stages.params import BASELINE, Params, load_params, technique_settings
from stages.paths import METRICS

ROUNDS = 5
CORES = len(os.sched_getaffinity(0))
WORKERS = sorted({0, 1, 2, CORES})  # of the usual loop; the quickest counts
# Contender -> share of an epoch that is timed.
SHARES = {
    # lest the start of the worker processes, once an epoch, weigh too much
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
# What the other loops have written in.
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
# Whole batches of any of these sizes, lest what is timed be the compiling for a smaller last one.
SCALED = {"torch": 5_120 / 48_000, "jax": 10_240 / 48_000, "native": 20_480 / 48_000}
SCALED_ROUNDS = 3
MILLION = 1e6

Figures = dict[str, float]


def python(*arguments: str, **environment: str) -> Any:
    """What `python -m <arguments>` prints, as JSON."""
    command, variables = [sys.executable, "-m", *arguments], os.environ | environment
    return json.loads(subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout)


def timed(contender: str, share: float, *batches: int, **environment: str) -> list[Figures]:
    figures: list[Figures] = python("benchmarks.timing", contender, str(share), *map(str, batches), **environment)
    return figures


def timed_together(contender: str, share: float, processes: int, cores: int) -> list[Figures]:
    """As many processes side by side, on the first `cores` of the cores that this one may use; all start together."""
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
                raise SystemExit(f"{contender} ended before it was timed.")
        for process in started:
            print("go", file=process.stdin, flush=True)
        return [json.loads(process.communicate()[0])[0] for process in started]


def medians(rounds: list[Figures]) -> Figures:
    return {key: round(statistics.median(figures[key] for figures in rounds), 3) for key in rounds[0]}


def epochs(rounds: int) -> list[dict[str, Figures]]:
    """For each round and contender the seconds of an epoch."""
    results = []
    for number in range(rounds):
        results.append({name: timed(name, share, BATCH)[0] for name, share in SHARES.items()})
        said = ", ".join(f"{name} {figures['epoch']:.2f}" for name, figures in results[-1].items())
        print(f"seconds an epoch, round {number + 1} of {rounds}: {said}", flush=True)
    return results


def by_batch_size(shares: dict[str, float]) -> dict[str, Figures]:
    """Microseconds that training on an image takes, for each contender and size of batch."""
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


def by_cores(shares: dict[str, float]) -> dict[str, Figures]:
    """Epochs a minute, for each contender and number of cores. Ours are as many trainings as there are cores, side by
    side; what has threads of its own is one training that may use them all."""
    counts = sorted({CORES, *(2**power for power in range(CORES.bit_length()))})
    rounds = []
    for _ in range(SCALED_ROUNDS):
        rates: dict[str, Figures] = {name: {} for name in shares}
        for cores in counts:
            for name, share in shares.items():
                processes = cores if name in ("native", "torch") else 1
                together = timed_together(name, share, processes, cores)
                rates[name][str(cores)] = sum(60 / figures["epoch"] for figures in together)
        rounds.append(rates)
    return {name: medians([rates[name] for rates in rounds]) for name in shares}


def by_compiler() -> Figures:
    """Seconds of our epoch, as each compiler that is here built the C code."""
    commands = {name: path for name in ("gcc", "clang") if (path := shutil.which(name))}
    commands["zig"] = shlex.join([sys.executable, "-m", "ziglang", "cc"])
    rounds = []
    for _ in range(SCALED_ROUNDS):
        rounds.append({name: timed("native", 1.0, BATCH, CC=command)[0]["epoch"] for name, command in commands.items()})
    return medians(rounds)


def study_beside(reference: str) -> Figures:
    """The study's seconds, and those that the usual loop would need for its epochs, of which one is timed just before
    and one just after: a machine's speed drifts within minutes."""
    before = timed(reference, 1.0, BATCH)[0]["epoch"]
    seconds = study_seconds()
    after = timed(reference, 1.0, BATCH)[0]["epoch"]
    params = load_params()
    epochs = sum(technique.get("epochs", params.train.epochs) for technique in params.techniques.values())
    return seconds | {"usual loop": epochs * (before + after) / 2}


def require_what_is_compared(params: Params) -> None:
    """Raises UserError where params.yaml has other data or settings than those that the other loops are written for."""
    found = params.data.model_dump() | technique_settings(params, BASELINE).model_dump()
    for name, value in COMPARED.items():
        if found[name] != value:
            raise UserError(
                f"{name} of {BASELINE} is {found[name]} in params.yaml, but the loops that the benchmark compares with "
                f"are written for {value}. Set it so for the benchmark, or run it in a fresh clone."
            )
    for name in SHARES:
        if name.startswith("native-"):
            technique_settings(params, name.removeprefix("native-"))


def machine() -> dict[str, Any]:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    asked = subprocess.run([*compilers()[0], "--version"], check=True, capture_output=True, text=True)
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": CORES,
        "vectors": processor_level() or "the architecture's own",
        "compiler": asked.stdout.splitlines()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: importlib.metadata.version(name) for name in ("jax", "keras")},
    }


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
    print(f"seconds of our epoch, by compiler: {seconds_by_compiler}", flush=True)
    per_image = by_batch_size({best: SHARES[best], **SCALED})
    print(f"microseconds an image: {per_image}", flush=True)
    per_minute = by_cores({name: SHARES[name] for name in (best, *SCALED)})
    print(f"epochs a minute: {per_minute}", flush=True)
    study = study_beside(best)
    content = {
        "machine": machine(),
        "rounds": ROUNDS,
        "reference": best,
        "seconds_per_epoch": seconds,
        "ratios": {
            **{f"{name} / native": ratio(name, "native") for name in (best, "torch", "jax", "keras")},
            f"{best} / torch": ratio(best, "torch"),
            **{f"{name} / native": ratio(name, "native") for name in SHARES if name.startswith("native-")},
            "peak / native": ratio("peak", "native"),
            f"study by {best} / study": round(study["usual loop"] / study["study"], 2),
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
