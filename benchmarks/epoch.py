"""Seconds per epoch, training and all evaluation, of the usual loop and of ours: `make benchmark`.

The contenders take turns, each round in new processes, so that a change of the machine's speed meets all of them; the
figures are medians over rounds, and the ratios are medians of the ratios within a round. -> metrics/benchmark.json
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from stages.files import write_json
from stages.paths import METRICS

ROUNDS = 5
# Contender -> share of an epoch that is timed.
CONTENDERS = {"reference-0": 0.1, "reference-1": 0.1, "reference-2": 0.1, "torch": 0.2, "native": 1.0, "peak": 1.0}


def seconds(contender: str, share: float) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.contenders", contender, str(share)]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures | {"epoch": figures["train"] + figures["evaluate"]}


def machine() -> dict[str, Any]:
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    return {"processor": names[0] if names else platform.machine(), "cores": len(os.sched_getaffinity(0)), **versions}


def main() -> None:
    rounds = []
    for number in range(ROUNDS):
        rounds.append({name: seconds(name, share) for name, share in CONTENDERS.items()})
        print(f"round {number + 1}/{ROUNDS}: " + ", ".join(f"{n} {f['epoch']:.2f} s" for n, f in rounds[-1].items()))
    medians = {
        name: {key: round(statistics.median(figures[name][key] for figures in rounds), 3) for key in rounds[0][name]}
        for name in CONTENDERS
    }
    best = min((name for name in CONTENDERS if name.startswith("reference")), key=lambda name: medians[name]["epoch"])
    ratios = {
        f"{best} / {name}": round(statistics.median(r[best]["epoch"] / r[name]["epoch"] for r in rounds), 2)
        for name in ("torch", "native")
    }
    ratios["peak / native"] = round(statistics.median(r["peak"]["epoch"] / r["native"]["epoch"] for r in rounds), 2)
    content = {"machine": machine(), "rounds": ROUNDS, "seconds_per_epoch": medians, "ratios": ratios}
    write_json(METRICS / "benchmark.json", content)
    print(json.dumps(ratios, indent=2))


if __name__ == "__main__":
    main()
