"""Copy the figures of the technique that params.yaml selects to metrics/selected.json, where `dvc metrics diff` between
two experiments finds them under one path."""

from stages.errors import UserError
from stages.files import write_atomically
from stages.params import load_params
from stages.paths import EVALUATION, METRICS


def main() -> None:
    path = EVALUATION / f"{load_params().selected}.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is not there. `dvc repro` makes it.") from None
    write_atomically(METRICS / "selected.json", content)


if __name__ == "__main__":
    main()
