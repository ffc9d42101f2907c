"""Fingerprint what the code computes: short runs of every technique and recipe -> metrics/fingerprint.json.

The replicates depend on these digests instead of the source files and settings. A change of the code that alters no bit
leaves the digests equal, and the replicates valid; one that alters a bit makes the replicates of the affected
techniques stale. A digest includes the number of epochs of a replicate, which the short run does not have.
docs/reproducibility.md describes what this proves and what it does not.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch

set_up()

import hashlib
import json
from typing import Any

from lenet5.data.dataset import Data, Split
from lenet5.preparation.sources import load_prepared
from lenet5.support.files import write_json
from lenet5.support.params import DataSettings, TrainSettings, load_params, technique_settings
from lenet5.support.paths import METRICS
from replication.analysis.results import load_plan
from replication.recipe import parameters
from replication.recipes.plan import load_recipes
from replication.replicate import replicate

FINGERPRINT = METRICS / "fingerprint.json"
SEED = 1  # not the study's, so that the split is drawn here too
EPOCHS = 4
IMAGES = (4_010, 1_000, 1_000)  # of training, validation and test images; the last batch of 64 is not full


def first_images(data: Data) -> Data:
    """Return the first `IMAGES` of each split."""
    return Data(*(Split(images[:count], labels[:count]) for (images, labels), count in zip(data, IMAGES, strict=True)))


def digest(*contents: Any) -> str:
    """Return the sha256 of the contents as JSON, with every digit, in hexadecimal. It is cut to 128 bits, with which
    the entry of a replicate in dvc.lock has one line less."""
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def fingerprints(stage: str, settings: dict[str, TrainSettings], data_settings: DataSettings) -> dict[str, str]:
    """Return the digest of a short run with each of the settings, by name, and print it."""
    data = load_prepared(data_settings.model_copy(update={"split_seed": SEED}))
    data_sha256 = [split.digest() for split in data]
    data = first_images(data)
    digests = {}
    for name, of_replicate in settings.items():
        short = of_replicate.model_copy(update={"seed": SEED, "epochs": EPOCHS})
        metrics = replicate(short, data, data_settings.class_names)
        digests[name] = digest(of_replicate.epochs, data_sha256, metrics)
        print(f"{stage} {name}: {digests[name]}", flush=True)
    return digests


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_params(), load_plan(), load_recipes()))
    params, plan, recipes = inputs.parameters
    content = {}
    for stage, rate in (("replicate", plan.learning_rate), ("control", plan.control.learning_rate)):
        settings = {technique: technique_settings(params, technique) for technique in plan.techniques}
        settings = {name: each.model_copy(update={"learning_rate": rate}) for name, each in settings.items()}
        content[stage] = fingerprints(stage, settings, params.data)
    settings = {name: parameters(name, SEED)[0] for name in recipes.recipes}
    content["recipe"] = fingerprints("recipe", settings, params.data)
    inputs.require_unchanged()
    write_json(FINGERPRINT, content)


if __name__ == "__main__":
    main()
