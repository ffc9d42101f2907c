"""Both backends beside each other: the first epochs of the study, trained by PyTorch's own modules in a copy of the
project, against those of the study as it is, and against what another seed changes: `make backends` ->
metrics/backends.json
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from replication.results import Replicates, load_plan, read_replicates
from stages.errors import UserError
from stages.files import write_json
from stages.params import PARAMS, load_params
from stages.paths import CURVES, METRICS
from stages.scratch import copies, reproduce

EPOCHS = 20  # by then all but weight decay have been at their lowest validation loss


def result(curve: Path) -> dict[str, Any]:
    """Of a training's first epochs: validation loss after the first and at its lowest, and the test accuracy there."""
    rows = pd.read_csv(curve).head(EPOCHS)
    best = rows.iloc[int(rows["validation_loss"].argmin())]
    return {
        "first_validation_loss": rows["validation_loss"][0],
        "lowest_validation_loss": best["validation_loss"],
        "epoch": int(best["epoch"]),
        "test_accuracy": 100 * best["test_accuracy"],
    }


def deviation(replicates: Replicates) -> float:
    """Standard deviation over seeds of the lowest validation loss within the first epochs."""
    return float(np.std(replicates.curves()[:, :EPOCHS].min(axis=1), ddof=1))


def main() -> None:
    settings = load_params().train
    if settings.backend != "native" or settings.schedule != "constant":
        raise UserError(
            f"train.backend is {settings.backend} and train.schedule {settings.schedule} in params.yaml; compared with "
            "are the first epochs of a study whose backend is native and whose schedule is constant."
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
    main()
