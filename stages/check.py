"""Check params.yaml before any other stage runs: `python -m stages.check`."""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from lenet5.support.files import write_atomically
from lenet5.support.params import load_params
from lenet5.support.paths import PARAMS, VALID


def main() -> None:
    inputs = Inputs(load_params)
    params = inputs.parameters
    for name in sorted(params.exercise.keys() - params.techniques.keys()):
        print(f"{PARAMS}: exercise.{name} is not a technique, so its accuracies are not shown.")
    inputs.require_unchanged()
    # The content is constant: the other stages depend on this file, and rerun only if their own parameters change.
    write_atomically(VALID, b"params.yaml is valid.\n")


if __name__ == "__main__":
    take_no_arguments()
    main()
