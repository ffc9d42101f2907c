"""Compare the two backends: `make backends` -> metrics/backends.json.

The first epochs of the study, trained with PyTorch's own modules in a copy of the project, against those of the native
backend, in standard deviations over seeds.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from commands.interruption import end_together
from commands.scratch import copies, reproduce
from lenet5.support.errors import UserError
from lenet5.support.files import write_json
from lenet5.support.params import load_params
from lenet5.support.paths import CURVES, METRICS, PARAMS
from replication.analysis.plan import load_plan
from replication.analysis.results import Replicates, read_replicates

EPOCHS = 20  # enough for the lowest validation loss of all techniques but weight decay


def result(curve: Path) -> dict[str, Any]:
    """Return first and lowest validation loss within the first epochs of a run, and the test accuracy at the latter."""
    rows = pd.read_csv(curve).head(EPOCHS)
    best = rows.iloc[int(rows["validation_loss"].argmin())]
    return {
        "first_validation_loss": rows["validation_loss"][0],
        "lowest_validation_loss": best["validation_loss"],
        "epoch": int(best["epoch"]),
        "test_accuracy": 100 * best["test_accuracy"],
    }


def deviation(replicates: Replicates) -> float:
    """Return the standard deviation over seeds of the lowest validation loss within the first epochs."""
    return float(np.std(replicates.curves()[:, :EPOCHS].min(axis=1), ddof=1))


def main() -> None:
    settings = load_params().train
    if settings.backend != "native" or settings.schedule != "constant":
        raise UserError(
            f"train.backend is {settings.backend} and train.schedule is {settings.schedule} in params.yaml, but this "
            "comparison needs a study with backend native and schedule constant. Change them, or use a fresh clone."
        )
    plan = load_plan()
    replicates = read_replicates(plan)[plan.learning_rate]
    with copies() as [folder]:
        yaml = YAML()
        params = yaml.load(folder / PARAMS)
        params["train"] |= {"backend": "torch", "epochs": EPOCHS}
        yaml.dump(params, folder / PARAMS)
        reproduce(folder)
        content = {
            technique: {
                "native": result(CURVES / f"{technique}.csv"),
                "torch": result(folder / CURVES / f"{technique}.csv"),
                "deviation_over_seeds": deviation(replicates[technique]),
            }
            for technique in plan.techniques
        }
    write_json(METRICS / "backends.json", {"epochs": EPOCHS, "techniques": content})
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    take_no_arguments()
    end_together()
    main()
