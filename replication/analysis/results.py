"""The files of the replicates: metrics/replicates/<learning rate>/<technique>-<seed>.json."""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from lenet5.support.errors import UserError
from lenet5.support.params import Sha256
from lenet5.support.paths import METRICS
from lenet5.support.schema import Section, first_problem
from replication.analysis.plan import Plan

REPLICATES = METRICS / "replicates"
CONFIRMATION = METRICS / "confirmation"
LONGER = CONFIRMATION / "longer"
REMEDY = (
    "Run `make replicate` to compute them again. If they came from a remote, run `python -m replication.worker` with "
    "the names in brackets instead."
)


Fraction = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(ge=0)]


class Identity(Section):
    """Which replicate a file holds."""

    technique: str
    seed: int
    learning_rate: float


class Failure(Identity):
    """The file of a replicate that diverged."""

    failure: str


class ClassAccuracy(Section):
    name: str = Field(alias="class")
    accuracy: Fraction


class Trained(Identity):
    """What any other file holds: a run, without test metrics. Its values must agree with each other."""

    train_loss: Loss
    train_accuracy: Fraction
    validation_loss: Loss
    validation_accuracy: Fraction
    chosen_epoch: int
    parameters: Annotated[int, Field(ge=1)]
    weights_sha256: Sha256
    validation_losses: Annotated[list[Loss], Field(min_length=1)]

    @model_validator(mode="after")
    def the_chosen_epoch_is_the_best(self) -> Self:
        lowest = min(self.validation_losses)
        if self.validation_losses.index(lowest) + 1 != self.chosen_epoch:
            raise ValueError("chosen_epoch does not have the lowest of validation_losses")
        # A GPU measures the losses of the epochs, a CPU that of the kept model.
        if not math.isclose(self.validation_loss, lowest, rel_tol=1e-4):
            raise ValueError("validation_loss is not that of chosen_epoch")
        return self


class Metrics(Trained):
    """The file of a replicate that did not diverge."""

    test_loss: Loss
    test_accuracy: Fraction
    test_calibration_error: Fraction
    test_accuracy_interval: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    test_accuracy_by_class: Annotated[list[ClassAccuracy], Field(min_length=1)]
    test_images: Annotated[int, Field(ge=1)]
    test_correct: str

    @model_validator(mode="after")
    def predictions_have_the_accuracy(self) -> Self:
        if len(base64.b64decode(self.test_correct, validate=True)) != math.ceil(self.test_images / 8):
            raise ValueError("test_correct does not have one bit for each of test_images")
        if unpacked(self.test_correct, self.test_images).sum() / self.test_images != self.test_accuracy:
            raise ValueError("test_accuracy is not that of test_correct")
        return self


def path_of(technique: str, seed: int, learning_rate: float, folder: Path = REPLICATES) -> Path:
    """Return the path of a replicate's file."""
    return folder / str(learning_rate) / f"{technique}-{seed}.json"


def read_replicate(path: Path, model: type[Metrics] = Metrics) -> dict[str, Any]:
    """Return the content of a replicate's file. Raises UserError if it is missing, or invalid: not JSON, incomplete,
    with values that contradict each other, or of another replicate."""
    replicate, content = read_run(path, model)
    own = path_of(replicate.technique, replicate.seed, replicate.learning_rate, path.parent.parent)
    if path != own:
        raise UserError(f"{path} is invalid: its content is that of {own}")
    return content


def read_run(path: Path, model: type[Trained]) -> tuple[Identity, dict[str, Any]]:
    """Return which run a file holds, and its content: a valid `model`, or a run that diverged. Raises UserError if it
    is missing or invalid."""
    content = read_json(path)
    return checked_run(content, path, model, Failure), content


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises UserError if it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is invalid: it is not JSON ({error})") from None


def checked_run(content: Any, path: Path, model: type[Trained], failure: type[Failure]) -> Identity:
    """Return which run the content of `path` is: a `model`, or a `failure` if it has one. Raises UserError if it is
    neither."""
    kind = failure if isinstance(content, dict) and "failure" in content else model
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path} is invalid: {first_problem(error)}") from None


Outcome = Callable[[dict[str, Any]], float]


class Replicates:
    """The replicates of one technique at one learning rate, by seed. Those that diverged are only counted."""

    def __init__(self, replicates: list[dict[str, Any]]) -> None:
        self.by_seed = {each["seed"]: each for each in replicates if "failure" not in each}
        self.failures = len(replicates) - len(self.by_seed)

    def values(self, of: Outcome, seeds: list[int] | None = None) -> NDArray[np.float64]:
        """Return one number per seed, float64, for all seeds or the given ones."""
        return np.array([of(self.by_seed[seed]) for seed in (self.by_seed if seeds is None else seeds)])

    def correct(self, seeds: list[int]) -> NDArray[np.bool_]:
        """Return which test images were classified correctly: bool seeds x images."""
        return np.stack([unpacked(self.by_seed[seed]["test_correct"], self.images) for seed in seeds])

    def curves(self) -> NDArray[np.float64]:
        """Return the validation losses in nats: float64 seeds x epochs."""
        return np.array([each["validation_losses"] for each in self.by_seed.values()])

    @property
    def images(self) -> int:
        """The number of test images."""
        return int(next(iter(self.by_seed.values()))["test_images"])


def packed(correct: NDArray[np.bool_]) -> str:
    """Return bool N as base64 text: eight values per byte, the first in the highest bit, padded with zeros."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpacked(text: str, count: int) -> NDArray[np.bool_]:
    """Return the bool array of length `count` that `packed` wrote."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def read_seeds(paths: dict[str, Path], read: Callable[[Path], dict[str, Any]], mistakes: list[str]) -> Replicates:
    """Return the replicates in the files, by the names of their stages. Adds a line to `mistakes` for each that is
    missing or invalid."""
    contents = []
    for stage, path in paths.items():
        try:
            contents.append(read(path))
        except UserError as error:
            mistakes.append(f"{error} ({stage}).")
    return Replicates(contents)


def read_replicates(plan: Plan) -> dict[float, dict[str, Replicates]]:
    """Return the replicates by learning rate (the control first) and technique. Raises UserError with one line for
    each that is missing or invalid."""
    mistakes: list[str] = []
    replicates: dict[float, dict[str, Replicates]] = {}
    for stage, part in (("control", plan.control), ("replicate", plan)):
        rate = part.learning_rate
        replicates[rate] = {}
        for technique in plan.techniques:
            paths = {f"{stage}@{technique}-{seed}": path_of(technique, seed, rate) for seed in part.seeds}
            replicates[rate][technique] = read_seeds(paths, read_replicate, mistakes)
    if mistakes:
        raise UserError("\n".join([*mistakes, REMEDY]))
    return replicates
