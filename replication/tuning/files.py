"""The files of the tuned techniques, each a list of runs: metrics/tuning/<stage>/."""

import math
from typing import Any

from pydantic import Field

from lenet5.support.errors import UserError
from lenet5.support.params import Schedule
from replication.analysis.results import Failure, Identity, Metrics, Trained, checked_run, read_json
from replication.tuning.plan import Cell, Planned, Tuning, final, refine, search

Runs = list[dict[str, Any]]


class InCell(Identity):
    """What identifies a run: its cell and seed."""

    technique: str = Field(alias="setting")
    schedule: Schedule


class Tried(InCell, Trained):
    """A run of the stages `search` and `refine`, whose files contain no test metrics."""


class Tested(InCell, Metrics):
    """A run of the stage `final`."""


class Failed(InCell, Failure):
    """A run that diverged."""


def read_runs(file: Planned) -> Runs:
    """Return the runs in a file. Raises UserError if it is missing or invalid, or holds other runs than planned."""
    content = read_json(file.path)
    if not isinstance(content, list):
        raise UserError(f"{file.path} is invalid: it is not a list")
    for run in content:
        checked_run(run, file.path, Tested if file.test else Tried, Failed)
    if [(cell_of(run), run["seed"]) for run in content] != file.runs:
        raise UserError(f"{file.path} is invalid: its runs are not those that are planned for it")
    return content


def read_all(files: list[Planned]) -> Runs:
    """Return the runs in all files. Raises UserError with one line for each that is missing or invalid."""
    runs: Runs = []
    mistakes = []
    for file in files:
        try:
            runs += read_runs(file)
        except UserError as error:
            mistakes.append(f"{error} ({file.stage}@{'-'.join(file.arguments)}).")
    if mistakes:
        raise UserError("\n".join([*mistakes, "Run `make tune` to compute them again."]))
    return runs


def files_of_search(plan: Tuning) -> list[Planned]:
    return [search(plan, setting, rate) for rate in plan.learning_rates for setting in plan.settings]


def files_of_refine(plan: Tuning) -> list[Planned]:
    return [refine(plan, technique) for technique in plan.choices]


def files_of_final(plan: Tuning) -> list[Planned]:
    return [final(plan, technique, seed) for technique in plan.choices for seed in plan.final.seeds]


def cell_of(run: dict[str, Any]) -> Cell:
    return Cell(*(run[field] for field in Cell._fields))


def mean_loss(cell: Cell, runs: Runs) -> float | None:
    """Return the mean validation loss of the runs of a cell, in nats. None if it has no runs, or if one diverged."""
    losses = [float(run.get("validation_loss", math.inf)) for run in runs if cell_of(run) == cell]
    mean = sum(losses) / len(losses) if losses else math.inf
    return mean if math.isfinite(mean) else None
