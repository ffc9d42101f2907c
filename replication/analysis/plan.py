"""The plan of the replication, replication/params.yaml."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from lenet5.support.errors import UserError
from lenet5.support.params import BASELINE, Seed, load_params
from lenet5.support.paths import PARAMS
from lenet5.support.schema import Section, did_you_mean, read_yaml, shown, validated

PLAN = Path("replication/params.yaml")


def with_a_point(value: Any) -> Any:
    """Return the value. Raises ValueError for a whole number, from which DVC and Python would make two file names."""
    if type(value) is int:
        raise ValueError("as part of file names it needs a decimal point; write 1.0 instead of 1")
    return value


LearningRate = Annotated[float, Field(gt=0), BeforeValidator(with_a_point)]
Seeds = Annotated[list[Seed], Field(min_length=2)]


class Control(Section):
    learning_rate: LearningRate
    seeds: Seeds


class Longer(Section):
    """A technique trained for another number of epochs, for some of the fresh seeds."""

    technique: str
    learning_rate: LearningRate
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    seeds: list[Seed]


class PlannedSeeds(Section):
    """Seeds that are computed a few at a time and compared once: how many are planned, and which to compute so far."""

    planned: Annotated[int, Field(ge=2)]
    seeds: list[Seed]

    @property
    def complete(self) -> bool:
        return len(self.seeds) == self.planned

    def progress(self, name: str) -> str:
        """Return a sentence with the number of computed seeds, to be shown instead of a comparison. name: what they are
        called."""
        return f"{len(self.seeds)} of {self.planned} {name} are computed. Nothing is compared before all of them are.\n"

    def mistakes(self, key: str) -> list[str]:
        """Return a line if there are more than planned. key: of this section."""
        count = len(self.seeds)
        return [f"{key}.seeds has {count} seeds, more than {key}.planned; remove some."] if count > self.planned else []


class Confirmation(PlannedSeeds):
    """Fresh seeds, for all techniques and both learning rates: how many are planned, and which to compute so far."""

    longer: Longer


class Plan(Control):
    """What is replicated, and the control: the same at another learning rate."""

    techniques: Annotated[list[str], Field(min_length=1)]
    control: Control
    confirmation: Confirmation
    equivalence_points: Annotated[float, Field(gt=0)]


def load_plan(path: Path = PLAN) -> Plan:
    """Return the validated plan. Raises UserError with one line for each mistake."""
    plan = validated(Plan, read_yaml(path), str(path))
    known = load_params().techniques
    mistakes = [
        f"techniques has {shown(name)}, which is not a technique in {PARAMS}; choose from: {', '.join(known)}."
        f"{did_you_mean(name, known)}"
        for name in plan.techniques
        if name not in known
    ]
    if BASELINE not in plan.techniques:
        mistakes.append(f"techniques has no {BASELINE}, with which every technique is compared; add it.")
    fresh, longer = plan.confirmation, plan.confirmation.longer
    lists: dict[str, list[Any]] = {"techniques": plan.techniques, "seeds": plan.seeds}
    lists |= {"control.seeds": plan.control.seeds, "confirmation.seeds": fresh.seeds}
    for key, values in (lists | {"confirmation.longer.seeds": longer.seeds}).items():
        if len(set(values)) < len(values):
            mistakes.append(f"{key} has a value twice; remove one.")
    if known_seeds := set(fresh.seeds) & {*plan.seeds, *plan.control.seeds}:
        mistakes.append(f"confirmation.seeds has {min(known_seeds)}, which seeds or control.seeds have; remove it.")
    mistakes += fresh.mistakes("confirmation")
    if longer.seeds and longer.technique not in plan.techniques:
        mistakes.append(f"confirmation.longer.technique is {shown(longer.technique)}, not in techniques; change it.")
    if longer.seeds and longer.learning_rate not in (plan.learning_rate, plan.control.learning_rate):
        rates = f"{plan.learning_rate} or {plan.control.learning_rate}"
        mistakes.append(f"confirmation.longer.learning_rate is {longer.learning_rate}, but must be {rates}.")
    if unknown := set(longer.seeds) - set(fresh.seeds):
        mistakes.append(f"confirmation.longer.seeds has {min(unknown)}, not one of confirmation.seeds; remove it.")
    if plan.learning_rate == plan.control.learning_rate:
        mistakes.append(
            f"control.learning_rate is {plan.learning_rate}, the same as learning_rate; change one of them."
        )
    if mistakes:
        raise UserError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return plan
