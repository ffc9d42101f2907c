"""Compute the runs of one file of the tuned techniques, one after the other.

`python -m replication.tuning.compute search dropout_20 0.001` -> metrics/tuning/search/0.001/dropout_20.json
`python -m replication.tuning.compute refine dropout` -> metrics/tuning/refine/dropout.json
`python -m replication.tuning.compute final dropout` -> metrics/tuning/final/dropout.json

If it is killed, the same command resumes: the runs that were complete are not computed again.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import argparse
from contextlib import ExitStack

from lenet5.support.files import write_json
from lenet5.support.params import DataSettings, Params, TrainSettings, load_params
from lenet5.support.schema import validated
from replication.replicate import compute_run
from replication.tuning.plan import Cell, Planned, Tuning, final, load_tuning, refine, require_known, search


def run_settings(params: Params, plan: Tuning, cell: Cell, seed: int) -> tuple[TrainSettings, DataSettings]:
    """Return the settings of a run and of its data. Raises UserError for an unknown setting or an invalid value."""
    require_known(cell.setting, plan.settings, "settings")
    changes = {"learning_rate": cell.learning_rate, "schedule": cell.schedule, "seed": seed}
    settings = params.train.model_dump() | plan.settings[cell.setting] | changes
    return validated(TrainSettings, settings, "arguments"), params.data.model_copy(update={"split_seed": seed})


def planned(plan: Tuning, stage: str, name: str, rate: float | None) -> Planned:
    """Return the file of a stage. Raises UserError for a setting, technique or learning rate that the plan lacks."""
    if rate is None:
        require_known(name, plan.choices, "choices")
        return refine(plan, name) if stage == "refine" else final(plan, name)
    require_known(name, plan.settings, "settings")
    require_known(rate, plan.learning_rates, "learning_rates")
    return search(plan, name, rate)


def main(stage: str, name: str, rate: float | None) -> None:
    def parameters() -> tuple[Planned, list[tuple[TrainSettings, DataSettings]]]:
        params, plan = load_params(), load_tuning()
        file = planned(plan, stage, name, rate)
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
    stages = parser.add_subparsers(dest="stage", required=True)
    of_setting = stages.add_parser("search", help="every schedule of a setting with a learning rate")
    of_setting.add_argument("name", metavar="SETTING", help="a name under `settings` in replication/tuning/params.yaml")
    of_setting.add_argument("rate", metavar="RATE", type=float)
    for stage, text in (("refine", "the candidates, more seeds"), ("final", "what was chosen, on the test images")):
        of_technique = stages.add_parser(stage, help=text)
        of_technique.add_argument("name", metavar="TECHNIQUE", help="a name under `choices`, in the same file")
        of_technique.set_defaults(rate=None)
    main(**vars(parser.parse_args()))
