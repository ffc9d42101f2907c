"""Choose the best cells by their validation loss: `python -m replication.tuning.choose candidates`, or `choice`.

candidates: metrics/tuning/search -> metrics/tuning/candidates.json, the best cells of each technique
choice: these and metrics/tuning/refine -> metrics/tuning/choice.json, the best of them over the seeds of both stages

Each cell comes with the fingerprint of its setting: the stages that depend on it are stale if the code computes
something else for this setting.
"""

from lenet5.support.process import Inputs, set_up

set_up()

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from lenet5.support.files import write_json
from replication.analysis.results import read_json
from replication.tuning.files import Runs, files_of_refine, files_of_search, mean_loss, read_all
from replication.tuning.plan import CANDIDATES, CHOICE, FINGERPRINT, TUNING, Cell, Tuning, load_tuning, read_cells


def ranked(cells: Iterable[Cell], runs: Runs) -> list[Cell]:
    """Return the cells that have runs, none of which diverged, the one with the lowest mean validation loss first."""
    losses = {cell: loss for cell in cells if (loss := mean_loss(cell, runs)) is not None}
    return sorted(losses, key=losses.__getitem__)


def candidates(plan: Tuning) -> dict[str, list[Cell]]:
    """Return the best cells of each technique in the stage `search`, as many as the plan has."""
    runs = read_all(files_of_search(plan))
    return {
        technique: ranked(plan.cells(settings), runs)[: plan.refine.cells]
        for technique, settings in plan.choices.items()
    }


def choice(plan: Tuning) -> dict[str, list[Cell]]:
    """Return the best of the candidates of each technique over the seeds of the stages `search` and `refine`: a list of
    one, or of none if all diverged or `refine` has no seeds yet."""
    if not plan.refine.seeds:
        return {technique: [] for technique in plan.choices}
    runs = read_all(files_of_search(plan) + files_of_refine(plan))
    return {technique: ranked(cells, runs)[:1] for technique, cells in read_cells(plan, CANDIDATES).items()}


# Of each part: what chooses, the file that it writes, and files that it reads besides those of the search
PARTS: dict[str, tuple[Callable[[Tuning], dict[str, list[Cell]]], Path, tuple[Path, ...]]] = {
    "candidates": (candidates, CANDIDATES, ()),
    "choice": (choice, CHOICE, (CANDIDATES, TUNING / "refine")),
}


def main(part: str) -> None:
    choose, path, paths = PARTS[part]
    inputs = Inputs(load_tuning, FINGERPRINT, TUNING / "search", *paths)
    chosen = choose(inputs.parameters)
    fingerprints = read_json(FINGERPRINT)
    content = {
        technique: [cell._asdict() | {"fingerprint": fingerprints.get(cell.setting)} for cell in cells]
        for technique, cells in chosen.items()
    }
    inputs.require_unchanged()
    write_json(path, content)
    for technique, cells in chosen.items():
        print(f"{technique}: {'; '.join(' '.join(map(str, cell)) for cell in cells) or 'none'}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.tuning.choose", description="Choose the best cells.")
    parser.add_argument("part", choices=tuple(PARTS))
    main(**vars(parser.parse_args()))
