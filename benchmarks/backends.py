"""Both backends beside each other: the study, trained by PyTorch's own modules in a copy of the project, against the
study as it is and against what another seed changes: `make backends` -> metrics/backends.json
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from stages.files import write_json
from stages.params import PARAMS, load_params
from stages.paths import CURVES, METRICS
from stages.scratch import copies, reproduce


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Of each technique: test accuracy in percent, the kept epoch, and the validation loss after the first epoch."""
    summary = json.loads((folder / METRICS / "summary.json").read_text())
    return {
        row["technique"]: {
            "test_accuracy": row["test_accuracy"],
            "chosen_epoch": row["chosen_epoch"],
            "first_validation_loss": pd.read_csv(folder / CURVES / f"{row['technique']}.csv")["validation_loss"][0],
        }
        for row in summary["techniques"]
    }


def main() -> None:
    with copies() as [folder]:
        yaml = YAML()
        params = yaml.load(folder / PARAMS)
        params["train"]["backend"] = "torch"
        yaml.dump(params, folder / PARAMS)
        reproduce(folder)
        torch = results(folder)
    native = results(Path())
    rate = load_params().train.learning_rate
    replicated = json.loads((METRICS / "replication.json").read_text())["results"]
    deviation = {
        row["technique"]: row["test_accuracy"]["standard_deviation"]
        for row in replicated
        if row["learning_rate"] == rate
    }
    content = {
        name: {"native": native[name], "torch": torch[name], "standard_deviation_over_seeds": deviation[name]}
        for name in native
    }
    write_json(METRICS / "backends.json", content)
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
