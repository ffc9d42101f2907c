"""A copy of the project in a temporary folder, where DVC may work without disturbing the project itself."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.errors import UserError
from stages.paths import RAW

RESULTS = ("dvc.lock", "metrics")  # git's, but after a first `dvc repro` not yet added


def run(
    *command: str, folder: Path = Path(), environment: dict[str, str] | None = None, stdin: str | None = None
) -> str:
    """The standard output of a command in `folder`. Raises UserError with the command's own words when it fails."""
    variables = os.environ | (environment or {})
    result = subprocess.run(
        command, cwd=folder, env=variables, input=stdin, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise UserError(f"`{' '.join(command)}` failed: {' '.join(said[-3:])}")
    return result.stdout.strip()


def snapshot(scratch: Path) -> str:
    """The id of a git tree of the files as they are now, uncommitted changes and results included, made through an
    index of its own in `scratch`: the user's index, stash and files are only read."""
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    run("git", "read-tree", "HEAD", environment=index)
    run("git", "add", "--update", environment=index)
    run("git", "add", "--all", "--", *(name for name in RESULTS if Path(name).exists()), environment=index)
    return run("git", "write-tree", environment=index)


@contextmanager
def copies(count: int = 1) -> Iterator[list[Path]]:
    """So many clones of the repository in the current folder, at its HEAD, with its files as they are now staged for a
    commit. They share its objects, know nothing of its data and cache, and are gone at the end.

    Raises UserError outside the top folder of a git repository with a commit.
    """
    top = run("git", "rev-parse", "--show-toplevel")
    if Path(top).resolve() != Path.cwd().resolve():
        raise UserError(f"Run this from the project's top folder, {top}.")
    with tempfile.TemporaryDirectory(prefix="lenet5-") as temporary:
        tree = snapshot(Path(temporary))
        folders = [Path(temporary) / f"copy{number}" for number in range(count)]
        for folder in folders:
            run("git", "clone", "--quiet", "--shared", "--no-checkout", top, str(folder))
            run("git", "checkout", "--quiet", "--detach", run("git", "rev-parse", "HEAD"), folder=folder)
            run("git", "read-tree", "-u", "--reset", tree, folder=folder)
        yield folders


def reproduce(folder: Path) -> None:
    """`make reproduce` in a copy, with this environment and this project's files in data/raw. Raises UserError when it
    fails."""
    RAW.mkdir(parents=True, exist_ok=True)
    (folder / RAW).parent.mkdir(exist_ok=True)
    (folder / RAW).symlink_to(RAW.resolve())
    # This environment is ready, whatever the times of the copied files say.
    command = ["make", "--no-print-directory", "--old-file=.venv/ready", "reproduce"]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        raise UserError("`make reproduce` failed in a copy of the project; what failed is said above.")
