"""The replicates of the confirmation, which also hold the curves: metrics/confirmation/<learning rate>/."""

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lenet5.support.errors import UserError
from lenet5.support.schema import Section
from replication.analysis.comparison import Techniques
from replication.analysis.plan import Plan
from replication.analysis.results import (
    CONFIRMATION,
    LONGER,
    REMEDY,
    Fraction,
    Loss,
    Metrics,
    Replicates,
    path_of,
    read_replicate,
    read_seeds,
)

ByRate = dict[float, Techniques]
Losses = Annotated[list[Loss], Field(min_length=1)]
Accuracies = Annotated[list[Fraction], Field(min_length=1)]


class Curves(Section):
    """One value per epoch: mean cross-entropy in nats, and accuracy as a fraction, in evaluation mode."""

    train_loss: Losses
    validation_loss: Losses
    test_loss: Losses
    train_accuracy: Accuracies
    validation_accuracy: Accuracies
    test_accuracy: Accuracies


class Confirmed(Metrics):
    """The file of a replicate of the confirmation that did not diverge."""

    curves: Curves

    @model_validator(mode="after")
    def curves_agree(self) -> Self:
        curves = self.curves.model_dump()
        if {len(curve) for curve in curves.values()} != {len(self.validation_losses)}:
            raise ValueError("curves do not have one value for each of validation_losses")
        if curves["validation_loss"] != self.validation_losses:
            raise ValueError("curves.validation_loss is not validation_losses")
        for name, curve in curves.items():
            # A GPU measures the curves, a CPU the kept model.
            if not math.isclose(curve[self.chosen_epoch - 1], getattr(self, name), rel_tol=1e-3):
                raise ValueError(f"curves.{name} does not have {name} in chosen_epoch")
        return self


def read_confirmed(path: Path) -> dict[str, Any]:
    """Return the content of the file of a replicate of the confirmation. Raises UserError as `read_replicate` does."""
    return read_replicate(path, Confirmed)


def read_confirmation(plan: Plan) -> tuple[ByRate, Replicates]:
    """Return the replicates of the confirmation, and those with another number of epochs. Raises UserError with one
    line for each that is missing or invalid."""
    mistakes: list[str] = []
    fresh: ByRate = {}
    for rate in sorted((plan.learning_rate, plan.control.learning_rate)):
        fresh[rate] = {}
        for technique in plan.techniques:
            paths = {
                f"confirm@{technique}-{rate}-{seed}": path_of(technique, seed, rate, CONFIRMATION)
                for seed in plan.confirmation.seeds
            }
            fresh[rate][technique] = read_seeds(paths, read_confirmed, mistakes)
    longer = plan.confirmation.longer
    paths = {
        f"longer@{longer.technique}-{seed}": path_of(longer.technique, seed, longer.learning_rate, LONGER)
        for seed in longer.seeds
    }
    runs = read_seeds(paths, read_confirmed, mistakes)
    if mistakes:
        raise UserError("\n".join([*mistakes, REMEDY]))
    return fresh, runs
