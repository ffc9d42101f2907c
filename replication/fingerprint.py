"""Fingerprint what the code computes: short runs of every technique -> metrics/fingerprint.json.

The replicates depend on these digests instead of the source files. A change of the code that alters no bit leaves the
digests equal, and the replicates valid; one that alters a bit makes the replicates of the affected techniques stale.
docs/reproducibility.md describes what this proves and what it does not.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import hashlib
import json
from typing import Any

from lenet5.data.dataset import Data, Split
from lenet5.support.files import write_json
from lenet5.support.params import load_params, technique_settings
from lenet5.support.paths import METRICS
from replication.analysis.results import load_plan
from replication.replicate import load_prepared, replicate

FINGERPRINT = METRICS / "fingerprint.json"
SEED = 1  # not the study's, so that the split is drawn here too
EPOCHS = 4
IMAGES = (4_010, 1_000, 1_000)  # of training, validation and test images; the last batch of 64 is not full


def first_images(data: Data) -> Data:
    """Return the first `IMAGES` of each split."""
    return Data(*(Split(images[:count], labels[:count]) for (images, labels), count in zip(data, IMAGES, strict=True)))


def digests(metrics: dict[str, Any], data_sha256: list[str]) -> dict[str, str]:
    """Return the digest of the weights, and that of the data and of all other metrics as JSON, with every digit."""
    rest = {name: value for name, value in metrics.items() if name != "weights_sha256"}
    text = json.dumps([data_sha256, rest], sort_keys=True)
    return {
        "weights_sha256": metrics.get("weights_sha256", ""),  # a run that diverged has none
        "metrics_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_params(), load_plan()))
    params, plan = inputs.parameters
    data = load_prepared(params.data.model_copy(update={"split_seed": SEED}))
    data_sha256 = [split.digest() for split in data]
    data = first_images(data)
    content: dict[str, dict[str, dict[str, str]]] = {}
    for stage, learning_rate in (("replicate", plan.learning_rate), ("control", plan.control.learning_rate)):
        content[stage] = {}
        for technique in plan.techniques:
            changes = {"seed": SEED, "learning_rate": learning_rate, "epochs": EPOCHS}
            settings = technique_settings(params, technique).model_copy(update=changes)
            content[stage][technique] = digests(replicate(settings, data, params.data.class_names), data_sha256)
            print(f"{stage} {technique}: {content[stage][technique]['weights_sha256'][:16]}", flush=True)
    inputs.require_unchanged()
    write_json(FINGERPRINT, content)


if __name__ == "__main__":
    main()
