"""The plan of the tuned techniques, replication/tuning/params.yaml, and the files that follow from it.

A cell is a setting with a learning rate and a schedule. The stage `search` runs all cells, `refine` the best of each
technique with more seeds, and `final` the best of these with other seeds, evaluated on the test images.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from lenet5.support.errors import UserError
from lenet5.support.params import BASELINE, TECHNIQUE_NAME, VALID_NAME, Schedule, Seed, load_params, technique_mistakes
from lenet5.support.paths import METRICS
from lenet5.support.schema import Section, did_you_mean, read_yaml, shown, validated
from replication.analysis.plan import LearningRate, PlannedSeeds
from replication.analysis.results import read_json

TUNING = METRICS / "tuning"
CANDIDATES = TUNING / "candidates.json"
CHOICE = TUNING / "choice.json"
FINGERPRINT = TUNING / "fingerprint.json"
PLAN = Path("replication/tuning/params.yaml")


class Cell(NamedTuple):
    """A setting with a learning rate and a schedule."""

    setting: str
    learning_rate: float
    schedule: Schedule


class Search(Section):
    seeds: Annotated[list[Seed], Field(min_length=1)]


class Refine(Section):
    """How many cells of each technique get more seeds, and which. Without seeds, nothing is chosen yet."""

    cells: Annotated[int, Field(ge=1)]
    seeds: list[Seed]


class Final(PlannedSeeds):
    """What was chosen, with other seeds: how many are planned, and which to compute so far."""


class Tuning(Section):
    settings: dict[str, dict[str, Any]]
    choices: dict[str, Annotated[list[str], Field(min_length=1)]]
    learning_rates: Annotated[list[LearningRate], Field(min_length=1)]
    schedules: Annotated[list[Schedule], Field(min_length=1)]
    search: Search
    refine: Refine
    final: Final

    def cells(self, settings: Iterable[str]) -> list[Cell]:
        """Return every cell of these settings."""
        return [
            Cell(setting, rate, schedule)
            for setting in settings
            for rate in self.learning_rates
            for schedule in self.schedules
        ]


def require_known(value: str | float, known: Collection[str | float], key: str) -> None:
    """Raise UserError for a value on the command line that the plan does not have under `key`."""
    if value not in known:
        names = [str(each) for each in known]
        choices = f"choose from: {', '.join(names)}.{did_you_mean(value, names)}" if names else "add it there."
        raise UserError(f"{shown(value)} is not in {key} of {PLAN}; {choices}")


def load_tuning(path: Path = PLAN) -> Tuning:
    """Return the validated plan. Raises UserError with one line for each mistake."""
    plan = validated(Tuning, read_yaml(path), str(path))
    mistakes = technique_mistakes(load_params().train, plan.settings, str(path), "settings")
    mistakes += [f"{path}: {mistake}" for mistake in [*_mistakes_in_choices(plan), *_mistakes_in_lists(plan)]]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return plan


def _mistakes_in_choices(plan: Tuning) -> list[str]:
    mistakes = [
        f"settings.{name} sets {key}, which the grid sets for each run; remove it."
        for name, overrides in plan.settings.items()
        for key in ("learning_rate", "schedule", "seed")
        if key in overrides
    ]
    mistakes += [
        f"choices.{shown(name)} is not a valid name; {VALID_NAME}"
        for name in plan.choices
        if not TECHNIQUE_NAME.fullmatch(name)
    ]
    if BASELINE not in plan.choices:
        mistakes.append(f"choices has no {BASELINE}, with which every technique is compared; add it.")
    chosen = [name for names in plan.choices.values() for name in names]
    for name in sorted(plan.settings.keys() | chosen):
        if name not in plan.settings:
            unknown = f"choices has {shown(name)}, which is not in settings; add it there."
            mistakes.append(unknown + did_you_mean(name, plan.settings))
        elif name not in chosen:
            mistakes.append(f"no list of choices has {name}; add it to one, or remove it from settings.")
        elif chosen.count(name) > 1:
            mistakes.append(f"choices has {name} more than once; keep one.")
    return mistakes


def _mistakes_in_lists(plan: Tuning) -> list[str]:
    seeds = {"search.seeds": plan.search.seeds, "refine.seeds": plan.refine.seeds, "final.seeds": plan.final.seeds}
    lists: dict[str, list[Any]] = {"learning_rates": plan.learning_rates, "schedules": plan.schedules, **seeds}
    mistakes = [
        f"{key} has a value twice; remove one." for key, values in lists.items() if len(set(values)) < len(values)
    ]
    used: set[int] = set()
    for key, values in seeds.items():
        if common := used & set(values):
            mistakes.append(f"{key} has {min(common)}, which an earlier part uses; choose another one.")
        used |= set(values)
    mistakes += plan.final.mistakes("final")
    if plan.final.seeds and not plan.refine.seeds:
        mistakes.append("final.seeds has seeds, but refine.seeds has none, without which nothing is chosen; add some.")
    return mistakes


class Planned(NamedTuple):
    """A file: its stage with its arguments, and the cells and seeds of its runs, in their order."""

    stage: str
    arguments: tuple[str, ...]
    runs: list[tuple[Cell, int]]

    @property
    def path(self) -> Path:
        folder = TUNING.joinpath(self.stage, *self.arguments[1:])
        return folder / f"{self.arguments[0]}.json"

    @property
    def test(self) -> bool:
        """Whether the runs are evaluated on the test images."""
        return self.stage == "final"


def search(plan: Tuning, setting: str, rate: float) -> Planned:
    """Return the file of the stage `search` for a setting and a learning rate. Raises UserError if the plan lacks one
    of them."""
    require_known(setting, plan.settings, "settings")
    require_known(rate, plan.learning_rates, "learning_rates")
    cells = [Cell(setting, rate, schedule) for schedule in plan.schedules]
    return Planned("search", (setting, str(rate)), [(cell, seed) for cell in cells for seed in plan.search.seeds])


def refine(plan: Tuning, technique: str) -> Planned:
    """Return the file of the stage `refine` for a technique. Raises UserError if the plan lacks it, or if
    metrics/tuning/candidates.json is missing or invalid, or lacks it."""
    require_known(technique, plan.choices, "choices")
    cells = _cells_of(plan, technique, CANDIDATES)
    return Planned("refine", (technique,), [(cell, seed) for cell in cells for seed in plan.refine.seeds])


def final(plan: Tuning, technique: str, seed: int) -> Planned:
    """Return the file of the stage `final` for a technique and a seed. Raises UserError if the plan lacks one of them,
    or if metrics/tuning/choice.json is missing or invalid, or lacks the technique."""
    require_known(technique, plan.choices, "choices")
    require_known(seed, plan.final.seeds, "final.seeds")
    return Planned("final", (technique, str(seed)), [(cell, seed) for cell in _cells_of(plan, technique, CHOICE)])


def _cells_of(plan: Tuning, technique: str, path: Path) -> list[Cell]:
    cells = read_cells(plan, path)
    if technique not in cells:
        raise UserError(f"{path} has no cells of {technique}. Run `make tune`, which chooses them.")
    return cells[technique]


def read_cells(plan: Tuning, path: Path) -> dict[str, list[Cell]]:
    """Return the cells of each technique in a file of replication/tuning/choose.py. Raises UserError if it is missing
    or invalid, or has a cell of a setting that the plan does not have for its technique."""
    if not path.exists():
        raise UserError(f"{path} is missing. Run `make tune`, which writes it.")
    content = read_json(path)
    try:
        cells_of = {
            technique: [Cell(*(cell[field] for field in Cell._fields)) for cell in cells]
            for technique, cells in content.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is invalid: {error!r}. Run `make tune` to write it again.") from None
    for technique, cells in cells_of.items():
        for cell in cells:
            if cell.setting not in plan.choices.get(technique, []):
                other = f"{path} has {cell.setting} for {technique}, which the plan lacks."
                raise UserError(f"{other} Run `make tune` to write it again.")
    return cells_of
