"""One DVC experiment per technique, named after it, for `dvc metrics diff baseline dropout`: `make experiments`.

An experiment is the project as it is now with `selected` set to its technique. Each is computed by `dvc exp run` in a
temporary copy, where nothing can train, and all replace those of an earlier call in one git transaction. The
branch, the files and the user's own experiments are only read.
"""

import io
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from stages.errors import UserError
from stages.params import load_params
from stages.scratch import copies, run

SELECTED = "metrics/selected.json"
FIGURES = ("test_accuracy", "test_loss", "validation_loss", "test_calibration_error", "chosen_epoch")
CHEAP = {"check", "select", "summary", "plot", "theory"}  # stages whose results an experiment does not rest on


def message(technique: str) -> str:
    """The commit message by which an experiment is known as made here, as long as it keeps its name."""
    return f"make experiments: technique {technique}"


def experiment_refs() -> dict[str, tuple[str, bool]]:
    """Of each experiment's git reference: the experiment's name, and whether it was made here."""
    refs = {}
    for line in run("git", "for-each-ref", "--format=%(refname) %(contents:subject)", "refs/exps").splitlines():
        ref, _, subject = line.partition(" ")
        _, _, *place = ref.split("/")  # refs/exps/<2 digits of the commit>/<the other 38>/<name>
        if len(place) == 3:
            refs[ref] = (place[2], subject == message(place[2]))
    return refs


def check_names(techniques: list[str]) -> None:
    """Raises UserError when `dvc metrics diff` would take a technique's name for something else of the user's."""
    theirs = {name for name, ours in experiment_refs().values() if not ours}
    for technique in techniques:
        if technique in theirs:
            raise UserError(
                f"There is an experiment {technique!r} that `make experiments` did not make; nothing was changed. "
                f"Rename it (`dvc exp rename {technique} NEW_NAME`) or remove it, and run again."
            )
        known = ["git", "rev-parse", "--verify", "--quiet", technique]
        if technique == "workspace" or subprocess.run(known, capture_output=True, check=False).returncode == 0:
            raise UserError(
                f"{technique!r} already means something else to git or DVC (a branch, a tag, a commit), so no "
                "experiment can have this name; nothing was changed. Rename the branch or the technique."
            )


def check_results(folder: Path) -> None:
    """Raises UserError when figures in metrics/ are not those of this params.yaml and code: nothing must train here."""
    dry = subprocess.run(
        ["dvc", "repro", "--dry", "--allow-missing"], cwd=folder, capture_output=True, text=True, check=False
    )
    would_run = {line.split("'")[1] for line in dry.stdout.splitlines() if line.startswith("Running stage '")}
    if dry.returncode != 0 or would_run - CHEAP:
        raise UserError(
            "The figures in metrics/ are not up to date with params.yaml and the code; nothing was changed. "
            "Run `make reproduce` (or `dvc repro`) first."
        )


def make_experiment(technique: str, folder: Path) -> None:
    """In `folder`, a copy of the project. `--single-item` so that no training and no evaluation can be run again."""
    identity = {
        f"GIT_{who}_{what}": "make-experiments" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    named = ["--name", technique, "--message", message(technique), "--set-param", f"selected={technique}"]
    run("dvc", "exp", "run", "--quiet", *named, "--single-item", "check", "select", folder=folder, environment=identity)


def replace_experiments(folders: list[Path]) -> None:
    """Bring the experiments in `folders` here; those of an earlier call go. All of it happens or nothing."""
    obsolete = {ref for ref, (_, ours) in experiment_refs().items() if ours}
    commands = [f"delete {ref}" for ref in obsolete]
    for folder in folders:
        ref, commit = run(
            "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/??/*/*", folder=folder
        ).split()
        # Objects only: the references are written below, together.
        run("git", "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", str(folder), commit)
        commands = [command for command in commands if command != f"delete {ref}"] + [f"update {ref} {commit}"]
    run("git", "update-ref", "--stdin", stdin="".join(f"{command}\n" for command in commands))


def table(techniques: list[str]) -> str:
    """The chief columns of `dvc exp show`, a row a technique."""
    keep = f"Experiment|{SELECTED}:({'|'.join(FIGURES)})$"
    shown = run("dvc", "exp", "show", "--csv", "--hide-workspace", "--drop", ".*", "--keep", keep)
    rows = pd.read_csv(io.StringIO(shown), index_col="Experiment")
    rows = rows.rename(columns=lambda name: name.removeprefix(f"{SELECTED}:"))
    return str(rows.loc[techniques, list(FIGURES)].round(4).to_string(index_names=False))


def main() -> None:
    techniques = list(load_params().techniques)
    check_names(techniques)
    with copies(len(techniques)) as folders:
        check_results(folders[0])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(make_experiment, techniques, folders))
        replace_experiments(folders)
    print(table(techniques))


if __name__ == "__main__":
    main()
