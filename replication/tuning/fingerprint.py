"""Fingerprint what the code computes for each setting: short runs -> metrics/tuning/fingerprint.json.

Like replication/fingerprint.py. One learning rate and one schedule stand for all. A digest includes the schedules and
seeds of the search, which a file of the search has besides its setting and learning rate.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch, take_no_arguments

set_up()

from lenet5.support.files import write_json
from lenet5.support.params import load_params
from replication.replicate import SHORT_SEED, digest, fingerprint_of, short_data
from replication.tuning.compute import run_settings
from replication.tuning.plan import FINGERPRINT, Cell, load_tuning

LEARNING_RATE = 0.001


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_params(), load_tuning()))
    params, plan = inputs.parameters
    data = short_data(params.data)
    content = {}
    for name in plan.settings:
        settings, _data = run_settings(params, plan, Cell(name, LEARNING_RATE, "cosine"), SHORT_SEED)
        of_run, _curves = fingerprint_of(settings, data, params.data.class_names)
        content[name] = digest(of_run, plan.schedules, plan.search.seeds)
        print(f"{name}: {content[name]}", flush=True)
    inputs.require_unchanged()
    write_json(FINGERPRINT, content)


if __name__ == "__main__":
    take_no_arguments()
    main()
