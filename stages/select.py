"""Copy the metrics of the technique that params.yaml selects to metrics/selected.json.

There `dvc metrics diff` finds the metrics of two experiments under one path.
"""

from lenet5.support.process import Inputs, set_up

set_up()

from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically
from lenet5.support.params import load_params
from lenet5.support.paths import EVALUATION, METRICS


def main() -> None:
    inputs = Inputs(lambda: load_params().selected, EVALUATION)
    path = EVALUATION / f"{inputs.parameters}.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. Run `dvc repro` to compute it.") from None
    inputs.require_unchanged()
    write_atomically(METRICS / "selected.json", content)


if __name__ == "__main__":
    main()
