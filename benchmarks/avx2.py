"""Compare ours with the standard PyTorch loop, both limited to AVX2: `python -m benchmarks.avx2`.

A processor without AVX-512 is this limited; other differences between processors remain. -> metrics/avx2.json
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import statistics

from benchmarks.measure import CORES, medians, per_minute, timed_together
from benchmarks.run import standard_loop
from commands.machine import machine
from lenet5.support.files import write_json
from lenet5.support.paths import METRICS

ROUNDS = 5
LIMITED = ("--level", "x86-64-v3")


def main() -> None:
    loop, share = standard_loop()
    rounds = [
        {
            "standard loop": per_minute(timed_together(loop, share, 1, CORES, *LIMITED)),
            "ours": per_minute(timed_together("native", 1.0, CORES, CORES, *LIMITED)),
        }
        for _ in range(ROUNDS)
    ]
    content = {
        "machine": {**machine(), "cores": CORES},
        "rounds": ROUNDS,
        "reference": loop,
        "epochs_per_minute": medians(rounds),
        "ours / standard loop": round(statistics.median(of["ours"] / of["standard loop"] for of in rounds), 2),
    }
    write_json(METRICS / "avx2.json", content)
    print(content["epochs_per_minute"])


if __name__ == "__main__":
    take_no_arguments()
    main()
