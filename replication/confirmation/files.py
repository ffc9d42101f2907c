"""The replicates of the confirmation, which also hold the curves: metrics/confirmation/<learning rate>/."""

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lenet5.support.schema import Section
from replication.analysis.results import Fraction, Loss, Metrics, read_replicate

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
