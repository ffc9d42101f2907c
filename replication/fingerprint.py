"""Fingerprint what the code computes: short runs of every technique and recipe -> metrics/fingerprint.json.

The replicates depend on these digests instead of the source files and settings. A change of the code that alters no bit
leaves the digests equal, and the replicates valid; one that alters a bit makes the replicates of the affected
techniques stale. A digest includes the number of epochs of a replicate, which the short run does not have.
docs/reproducibility.md describes what this proves and what it does not.
"""

from lenet5.support.process import Inputs, set_up, set_up_torch, take_no_arguments

set_up()

from typing import Any

from lenet5.support.files import write_json
from lenet5.support.params import Params, TrainSettings, load_params, technique_settings
from lenet5.support.paths import METRICS
from replication.analysis.plan import Plan, load_plan
from replication.recipe import run_settings
from replication.recipes.plan import Recipes, load_recipes
from replication.replicate import SHORT_SEED, digest, fingerprint_of, short_data

FINGERPRINT = METRICS / "fingerprint.json"


def planned(params: Params, plan: Plan, recipes: Recipes) -> dict[str, dict[str, TrainSettings]]:
    """Return the settings of every replicate but its seed, by stage and technique, or "recipe" and recipe. The
    confirmation has the settings of both stages."""
    settings: dict[str, dict[str, TrainSettings]] = {}
    for stage, rate in (("replicate", plan.learning_rate), ("control", plan.control.learning_rate)):
        of_techniques = {technique: technique_settings(params, technique) for technique in plan.techniques}
        settings[stage] = {
            name: each.model_copy(update={"learning_rate": rate}) for name, each in of_techniques.items()
        }
    return settings | {"recipe": {name: run_settings(params, recipes, name, SHORT_SEED)[0] for name in recipes.recipes}}


def main() -> None:
    set_up_torch()
    inputs = Inputs(lambda: (load_params(), load_plan(), load_recipes()))
    params = inputs.parameters[0]
    data = short_data(params.data)
    content: dict[str, dict[str, str]] = {}
    curves: dict[str, list[Any]] = {technique: [] for technique in inputs.parameters[1].techniques}
    for stage, of_stage in planned(*inputs.parameters).items():
        content[stage] = {}
        for name, settings in of_stage.items():
            content[stage][name], of_run = fingerprint_of(settings, data, params.data.class_names)
            if stage != "recipe":
                curves[name].append([settings.learning_rate, of_run])
            print(f"{stage} {name}: {content[stage][name]}", flush=True)
    # The confirmation has both learning rates, and alone keeps the curves.
    content["confirm"] = {
        name: digest(content["replicate"][name], content["control"][name], of_runs) for name, of_runs in curves.items()
    }
    inputs.require_unchanged()
    write_json(FINGERPRINT, content)


if __name__ == "__main__":
    take_no_arguments()
    main()
