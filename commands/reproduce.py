"""Compute the study with runs in parallel, and print its table: `make reproduce`, or `make reproduce JOBS=2`.

DVC runs one stage after another. Here, one DVC prepares the data, several train and evaluate one technique each, and a
last one verifies their results and runs the stages that join them.
"""

from lenet5.support.process import set_up

set_up()

from commands import origins
from commands.interruption import Pool, end_together
from commands.pipeline import alone, dvc, jobs, show_line
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import METRICS


def run(*stages: str) -> None:
    """Run stages that are ready, one after another. The last DVC repeats an error, and ends with it."""
    try:
        dvc("repro", "--single-item", *stages)
    except UserError as error:
        show_line(str(error))


def main() -> None:
    count = jobs()
    techniques = load_params().techniques  # reports mistakes before anything is computed
    with alone("reproduce"):
        dvc("repro", "--single-item", "check", "prepare")
        # The shortest comes last.
        groups = [(f"train@{name}", f"evaluate@{name}") for name in techniques] + [("theory",)]
        with Pool(count) as pool:
            list(pool.map(lambda group: run(*group), groups))
        dvc("repro")
    origins.main()
    print((METRICS / "summary.md").read_text(), end="")


if __name__ == "__main__":
    end_together()
    main()
