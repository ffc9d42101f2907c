"""Project the time of the study and of the replicates to other numbers of cores, from the parts that are measured.

Assumed: runs are as long as here, each on its own core, and start as soon as a core is free. Side by side, they slow
each other down as all cores of this machine do, however many they are. A replicate costs one start of DVC, as long as a
`dvc repro` with nothing to do. What the study does before and after the training takes as long as here.
"""

import heapq
from collections.abc import Iterable
from typing import Any

CORES = (1, 2, 4, 8, 16, 32, 64, 128)


def makespan(seconds: Iterable[float], cores: int) -> float:
    """Return the time until the last run ends, if each starts, in this order, on the first core that is free."""
    ends = [0.0] * cores
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def run_seconds(benchmark: dict[str, Any], epochs: dict[str, int], cores: int) -> dict[str, float]:
    """Return the seconds of one run of each technique on one of `cores` busy cores."""
    measured, rates = benchmark["seconds_per_epoch"], benchmark["epochs_per_minute"]["native"]
    all_cores = max(rates, key=int)
    slower = int(all_cores) * rates["1"] / rates[all_cores] if cores > 1 else 1.0
    seconds = {}
    for technique, count in epochs.items():
        numbers = measured.get(f"native-{technique}", measured["native"])
        seconds[technique] = numbers["start"] + count * numbers["epoch"] * slower
    return seconds


def projection(benchmark: dict[str, Any], epochs: dict[str, int], replicates: int) -> dict[str, dict[str, float]]:
    """Return the seconds of the study and of all replicates for each number of cores.

    epochs: of each technique; replicates: of each technique.
    """
    around, dvc = (benchmark["seconds"][part] for part in ("before and after training", "nothing to do"))
    result = {}
    for cores in CORES:
        runs = list(run_seconds(benchmark, epochs, cores).values())
        result[str(cores)] = {
            "study": round(around + makespan(runs, cores), 1),
            "replicates": round(makespan([dvc + run for _ in range(replicates) for run in runs], cores), 1),
        }
    return result
