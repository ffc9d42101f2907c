"""Copy the metrics of the technique that params.yaml selects to metrics/selected.json.

There `dvc metrics diff` finds the metrics of two experiments under one path.
"""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from lenet5.support.files import number, read_json, write_atomically
from lenet5.support.params import load_params
from lenet5.support.paths import EVALUATION, METRICS


def main() -> None:
    inputs = Inputs(lambda: load_params().selected, EVALUATION)
    path = EVALUATION / f"{inputs.parameters}.json"
    read_json(path, {"test_accuracy": number})  # do not copy a damaged file
    content = path.read_bytes()
    inputs.require_unchanged()
    write_atomically(METRICS / "selected.json", content)


if __name__ == "__main__":
    take_no_arguments()
    main()
