"""Compute the runs of one file of the tuned techniques, one after the other.

`python -m replication.tuning.compute search dropout_20 0.001` -> metrics/tuning/search/0.001/dropout_20.json
`python -m replication.tuning.compute refine dropout` -> metrics/tuning/refine/dropout.json
`python -m replication.tuning.compute final dropout 60` -> metrics/tuning/final/60/dropout.json

If it is killed, the same command resumes: the runs that were complete are not computed again.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lenet5.support.files import write_json
from lenet5.support.params import DataSettings, Params, TrainSettings, load_params
from replication.replicate import compute_run, of_seed
from replication.tuning.plan import Cell, Planned, Tuning, final, load_tuning, refine, require_known, search


def run_settings(params: Params, plan: Tuning, cell: Cell, seed: int) -> tuple[TrainSettings, DataSettings]:
    """Return the settings of a run and of its data. Raises UserError for an unknown setting or an invalid value."""
    require_known(cell.setting, plan.settings, "settings")
    of_cell = {"learning_rate": cell.learning_rate, "schedule": cell.schedule}
    return of_seed(params, params.train.model_dump() | plan.settings[cell.setting] | of_cell, seed)


def main(find: Callable[..., Planned], **arguments: Any) -> None:
    def parameters() -> tuple[Planned, list[tuple[TrainSettings, DataSettings]]]:
        params, plan = load_params(), load_tuning()
        file = find(plan, **arguments)
        return file, [run_settings(params, plan, cell, seed) for cell, seed in file.runs]

    set_up_torch()
    inputs = Inputs(parameters)
    file, settings = inputs.parameters
    print(f"{len(file.runs)} runs", flush=True)
    contents, checkpoints = [], []
    with ExitStack() as locks:
        for (cell, seed), of_run in zip(file.runs, settings, strict=True):
            run = "-".join(("tuning", *map(str, cell), str(seed)))
            result, checkpoint = compute_run(run, of_run, inputs.sources, locks, test=file.test)
            contents.append(cell._asdict() | {"seed": seed} | result)
            checkpoints.append(checkpoint)
        inputs.require_unchanged()
        write_json(file.path, contents)
        for checkpoint in checkpoints:
            checkpoint.delete()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.tuning.compute", description="Compute tuned runs.")
    stages = parser.add_subparsers(required=True, metavar="STAGE")
    of_setting = stages.add_parser("search", help="compute a setting with a learning rate and every schedule")
    of_setting.add_argument(
        "setting", metavar="SETTING", help="a name under `settings` in replication/tuning/params.yaml"
    )
    of_setting.add_argument("rate", metavar="RATE", type=float, help="one of `learning_rates`, in the same file")
    of_setting.set_defaults(find=search)
    of_candidates = stages.add_parser("refine", help="compute the candidates of a technique with more seeds")
    of_candidates.set_defaults(find=refine)
    of_choice = stages.add_parser("final", help="compute the choice of a technique, on the test images")
    of_choice.set_defaults(find=final)
    for of_technique in (of_candidates, of_choice):
        of_technique.add_argument("technique", metavar="TECHNIQUE", help="a name under `choices`, in the same file")
    of_choice.add_argument("seed", metavar="SEED", type=int, help="one of `final.seeds`, in the same file")
    main(**vars(parser.parse_args()))
