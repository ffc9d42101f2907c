"""Create one DVC experiment per technique, for `dvc metrics diff baseline dropout`: `make experiments`.

An experiment is the project in its current state with `selected` set to its technique. `dvc exp run` computes each in
a temporary copy, where no training can start. Together they replace the experiments of an earlier call in one git
transaction. The branch, the files and the user's own experiments are only read.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import io
import re
import subprocess
from pathlib import Path

import pandas as pd

from commands.interruption import Pool, end_together
from commands.pipeline import usable_cores
from commands.scratch import copies, run
from lenet5.support.errors import UserError
from lenet5.support.params import load_params

SELECTED = "metrics/selected.json"
COLUMNS = ("test_accuracy", "test_loss", "validation_loss", "test_calibration_error", "chosen_epoch")
CHEAP = {"check", "select", "summary", "plot", "theory"}  # stages on which no compared metric depends


def message(technique: str) -> str:
    """Return the commit message that identifies an experiment of this command, as long as it keeps its name."""
    return f"make experiments: technique {technique}"


def experiment_refs() -> dict[str, tuple[str, bool]]:
    """Map each experiment ref to its name, and whether this command created it."""
    refs = {}
    for line in run("git", "for-each-ref", "--format=%(refname) %(contents:subject)", "refs/exps").splitlines():
        ref, _, subject = line.partition(" ")
        _, _, *place = ref.split("/")  # refs/exps/<2 digits of the commit>/<the other 38>/<name>
        if len(place) == 3:
            refs[ref] = (place[2], subject == message(place[2]))
    return refs


def check_names(techniques: list[str]) -> None:
    """Raise UserError if a technique's name already refers to something of the user's."""
    theirs = {name for name, ours in experiment_refs().values() if not ours}
    for technique in techniques:
        if technique in theirs:
            raise UserError(
                f"The experiment {technique!r} was not created by `make experiments`; nothing was changed. "
                f"Rename it (`dvc exp rename {technique} NEW_NAME`) or remove it, and run again."
            )
        known = ["git", "rev-parse", "--verify", "--quiet", technique]
        if technique == "workspace" or subprocess.run(known, capture_output=True, check=False).returncode == 0:
            raise UserError(
                f"{technique!r} already names something else in git or DVC (a branch, a tag, a commit), so it cannot "
                "name an experiment; nothing was changed. Rename the branch or the technique."
            )


def check_results(folder: Path) -> None:
    """Raise UserError if metrics/ is not up to date with params.yaml and the code: nothing may train here."""
    # Raises UserError with DVC's message if dvc.yaml cannot be read.
    if missing := CHEAP - set(run("dvc", "stage", "list", "--name-only", folder=folder).split()):
        raise UserError(
            f"dvc.yaml has no stage {', '.join(sorted(missing))}; nothing was changed. "
            "Restore the file, for example with `git checkout -- dvc.yaml`."
        )
    dry = subprocess.run(
        ["dvc", "repro", "--dry", "--allow-missing"], cwd=folder, capture_output=True, text=True, check=False
    )
    # DVC fails at a stage that would have to run here, where the data are missing.
    would_run = set(re.findall("^Running stage '(.*?)'", dry.stdout, re.MULTILINE))
    would_run |= set(re.findall("^ERROR: failed to reproduce '(.*?)'", dry.stderr, re.MULTILINE))
    if would_run - CHEAP:
        raise UserError(
            "The files in metrics/ are not up to date with params.yaml and the code; nothing was changed. "
            "Run `make reproduce` (or `dvc repro`) first."
        )
    if dry.returncode != 0:
        raise UserError(f"`dvc repro --dry` failed; nothing was changed. Its error: {dry.stderr.strip()}")


def make_experiment(technique: str, folder: Path) -> None:
    """Create the experiment in `folder`, a copy of the project. `--single-item` makes sure that nothing is trained."""
    identity = {
        f"GIT_{who}_{what}": "make-experiments" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    named = ["--name", technique, "--message", message(technique), "--set-param", f"selected={technique}"]
    run("dvc", "exp", "run", "--quiet", *named, "--single-item", "check", "select", folder=folder, environment=identity)


def replace_experiments(folders: list[Path]) -> None:
    """Copy the experiments from `folders` into this repository and delete those of an earlier call: all or nothing."""
    obsolete = {ref for ref, (_, ours) in experiment_refs().items() if ours}
    commands = [f"delete {ref}" for ref in obsolete]
    for folder in folders:
        ref, commit = run(
            "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps/??/*/*", folder=folder
        ).split()
        # Objects only; the refs are written together, below.
        source = run("git", "rev-parse", "--absolute-git-dir", folder=folder)
        run("git", "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", source, commit)
        commands = [command for command in commands if command != f"delete {ref}"] + [f"update {ref} {commit}"]
    run("git", "update-ref", "--stdin", stdin="".join(f"{command}\n" for command in commands))


def shown() -> str:
    """Return the main columns of `dvc exp show` as CSV."""
    columns = ["--drop", ".*", "--keep", f"Experiment|{SELECTED}:({'|'.join(COLUMNS)})$"]
    return run("dvc", "--wait-for-lock", "exp", "show", "--csv", "--hide-workspace", *columns)


def table(experiments: str, techniques: list[str]) -> str:
    """Return one row per technique, from the CSV of `shown`."""
    # `null` is the name of a technique, not a missing value.
    rows = pd.read_csv(io.StringIO(experiments), index_col="Experiment", keep_default_na=False, na_values=[""])
    rows = rows.rename(columns=lambda name: name.removeprefix(f"{SELECTED}:"))
    return str(rows.loc[techniques, list(COLUMNS)].round(4).to_string(index_names=False))


def main() -> None:
    techniques = list(load_params().techniques)
    check_names(techniques)
    with copies(len(techniques)) as folders:
        check_results(folders[0])
        with Pool(usable_cores()) as pool:
            list(pool.map(make_experiment, techniques, folders))
        replace_experiments(folders)
    print(table(shown(), techniques))


if __name__ == "__main__":
    take_no_arguments()
    end_together()
    main()
