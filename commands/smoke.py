"""Run the whole pipeline in about a minute, with few epochs on a slice of the data, in a temporary copy: `make smoke`.

It uses the images in data/raw, and downloads them there if necessary. Nothing else in the project changes.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

from ruamel.yaml import YAML

from commands.interruption import end_together
from commands.scratch import copies, reproduce
from lenet5.support.params import load_params
from lenet5.support.paths import PARAMS

SUBSET = 0.05
EPOCHS = 3


def main() -> None:
    load_params()
    with copies() as [folder]:
        yaml = YAML()
        params = yaml.load(folder / PARAMS)
        subset = params["data"]["subset"] = min(SUBSET, params["data"]["subset"])
        for settings in (params["train"], *params["techniques"].values()):
            if settings and "epochs" in settings:
                settings["epochs"] = min(EPOCHS, settings["epochs"])
        yaml.dump(params, folder / PARAMS)
        reproduce(folder)
    epochs = params["train"]["epochs"]
    print(f"The pipeline works. The table is not a result: {epochs} epochs on {100 * subset:g} % of the images.")


if __name__ == "__main__":
    take_no_arguments()
    end_together()
    main()
