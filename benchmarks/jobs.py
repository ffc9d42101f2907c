"""Compare one run per core with two per core, which `JOBS` can ask for: `python -m benchmarks.jobs`.

-> metrics/jobs.json
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import statistics

from benchmarks.measure import CORES, medians, per_minute, timed_together
from commands.machine import machine
from lenet5.support.files import write_json
from lenet5.support.paths import METRICS

ROUNDS = 5
PER_CORE = (1, 2)


def main() -> None:
    counts = [number * CORES for number in PER_CORE]
    rounds = [{str(n): per_minute(timed_together("native", 1.0, n, CORES)) for n in counts} for _ in range(ROUNDS)]
    ratios = [of[str(counts[1])] / of[str(counts[0])] for of in rounds]
    content = {
        "machine": {**machine(), "cores": CORES},
        "rounds": ROUNDS,
        "epochs_per_minute": medians(rounds),
        "two per core / one per core": round(statistics.median(ratios), 3),
    }
    write_json(METRICS / "jobs.json", content)
    print(content["epochs_per_minute"])


if __name__ == "__main__":
    take_no_arguments()
    main()
