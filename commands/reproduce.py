"""Compute the study with runs in parallel, and print its table: `make reproduce`, or `make reproduce JOBS=2`.

`python -m commands.reproduce dropout` only trains and evaluates the techniques that it names.

DVC runs one stage after another. Here, one DVC prepares the data, several train and evaluate one technique each, and a
last one verifies their results and runs the stages that join them.
"""

from lenet5.support.process import set_up

set_up()

import argparse

from commands import origins
from commands.interruption import Pool, end_together
from commands.pipeline import alone, dvc, jobs, show_line
from lenet5.support.errors import UserError
from lenet5.support.params import load_params, technique_settings
from lenet5.support.paths import METRICS


def run(*stages: str) -> None:
    """Run stages that are ready, one after another. The last DVC repeats an error, and ends with it."""
    try:
        dvc("repro", "--single-item", *stages)
    except UserError as error:
        show_line(str(error))


def main(techniques: list[str]) -> None:
    count = jobs()
    params = load_params()  # reports mistakes before anything is computed
    for name in techniques:
        technique_settings(params, name)
    names = techniques or list(params.techniques)
    groups = [[f"train@{name}", f"evaluate@{name}"] for name in names]
    targets = [f"evaluate@{name}" for name in techniques]
    if not techniques:
        groups.append(["theory"])  # the shortest comes last
    with alone("reproduce"):
        dvc("repro", "--single-item", "check", "prepare")
        with Pool(count) as pool:
            list(pool.map(lambda group: run(*group), groups))
        dvc("repro", *targets)
    origins.main(names)
    if not techniques:
        print((METRICS / "summary.md").read_text(), end="")


if __name__ == "__main__":
    end_together()
    parser = argparse.ArgumentParser(prog="python -m commands.reproduce", description="Compute the study in parallel.")
    parser.add_argument("techniques", nargs="*", metavar="TECHNIQUE", help="compute only these, without the summary")
    main(parser.parse_args().techniques)
