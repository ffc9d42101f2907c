"""The plan of the replication, and the replicates: metrics/replicates/<learning rate>/<technique>-<seed>.json."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lenet5.support.errors import UserError
from lenet5.support.params import BASELINE, Seed, load_params
from lenet5.support.paths import METRICS, PARAMS
from lenet5.support.schema import Section, read_yaml, shown, validated

REPLICATES = METRICS / "replicates"
PLAN = Path("replication/params.yaml")


LearningRate = Annotated[float, Field(gt=0)]
Seeds = Annotated[list[Seed], Field(min_length=2)]


class Control(Section):
    learning_rate: LearningRate
    seeds: Seeds


class Plan(Control):
    """What is replicated, and the control: the same at another learning rate."""

    techniques: Annotated[list[str], Field(min_length=1)]
    control: Control
    equivalence_points: Annotated[float, Field(gt=0)]


def load_plan(path: Path = PLAN) -> Plan:
    """Return the validated plan. Raises UserError with one line for each mistake."""
    plan = validated(Plan, read_yaml(path), str(path))
    known = load_params().techniques
    mistakes = [
        f"techniques has {shown(name)}, which is not a technique in {PARAMS}; choose from: {', '.join(known)}."
        for name in plan.techniques
        if name not in known
    ]
    if BASELINE not in plan.techniques:
        mistakes.append(f"techniques has no {BASELINE}, with which every technique is compared; add it.")
    for key, values in (("techniques", plan.techniques), ("seeds", plan.seeds), ("control.seeds", plan.control.seeds)):
        if len(set(values)) < len(values):
            mistakes.append(f"{key} has a value twice; remove one.")
    if plan.learning_rate == plan.control.learning_rate:
        mistakes.append(f"control.learning_rate is {plan.learning_rate}, as learning_rate; change one of them.")
    if mistakes:
        raise UserError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return plan


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


def read_replicates(plan: Plan) -> dict[float, dict[str, Replicates]]:
    """Return the replicates by learning rate (the control first) and technique. Raises UserError if one is missing."""
    try:
        return {
            part.learning_rate: {
                technique: Replicates(
                    [_read(REPLICATES / f"{part.learning_rate}/{technique}-{seed}.json") for seed in part.seeds]
                )
                for technique in plan.techniques
            }
            for part in (plan.control, plan)
        }
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing. Run `make replicate` to compute it.") from None


def _read(path: Path) -> dict[str, Any]:
    replicate: dict[str, Any] = json.loads(path.read_text())
    return replicate
