"""Bring the tuned techniques and their analysis up to date, several stages side by side: `make tune`.

The search comes first, then the runs that refine its best cells, and then those of what was chosen.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

from pathlib import Path

from commands.interruption import end_together
from commands.pipeline import alone, dvc, jobs
from lenet5.support.paths import METRICS
from replication.run import run
from replication.tuning.plan import TUNING, load_tuning

PIPELINE = Path("replication/tuning")
# Pairs of a stage and the stages that depend on what it writes
PARTS = (("fingerprint", "search"), ("candidates", "refine"), ("choice", "final"))


def main() -> None:
    count = jobs()
    load_tuning()  # reports mistakes before anything is computed
    for stage in ("search", "final"):
        (TUNING / stage).mkdir(parents=True, exist_ok=True)  # a dependency, even if nothing is planned
    with alone("tune"):
        for deciding, stage in PARTS:
            run(PIPELINE, deciding, (stage,), count, what=f"files of the stage {stage}")
        dvc("repro", folder=PIPELINE)
    print((METRICS / "tuning.md").read_text(), end="")


if __name__ == "__main__":
    take_no_arguments()
    end_together()
    main()
