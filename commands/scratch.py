"""Copies of the project in a temporary folder, where DVC can run without disturbing the project itself."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from commands.environment import fault_of_folder
from commands.repair import check_lock_files
from lenet5.support.errors import UserError
from lenet5.support.paths import RAW

PREFIX = "lenet5-scratch-"  # of the temporary folders
LOCK = "lock"  # the file in each of them that its process locks
# Tracked by git, but not yet added after a first `dvc repro`
RESULTS = ("dvc.lock", "metrics", "data/README.md", "models/README.md")


def require(program: str) -> None:
    """Raise UserError if a program is not on the PATH, as `dvc` is without this project's environment."""
    if not shutil.which(program):
        raise UserError(f"{program} is not on the PATH. Run `source .venv/bin/activate`, then this again.")


def run(
    *command: str, folder: Path = Path(), environment: dict[str, str] | None = None, stdin: str | None = None
) -> str:
    """Return the standard output of a command in `folder`. Raises UserError with its last lines if it fails."""
    require(command[0])
    variables = os.environ | (environment or {})
    result = subprocess.run(
        command, cwd=folder, env=variables, input=stdin, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        printed = [line for line in (result.stderr.strip() or result.stdout.strip()).splitlines() if line.strip()]
        raise UserError(f"`{' '.join(command)}` failed: {' '.join(' '.join(printed[-4:]).split())}")
    return result.stdout.strip()


def snapshot(scratch: Path) -> str:
    """Return the id of a git tree of the current files, with uncommitted changes and results.

    It is created through a separate index in `scratch`: the user's index, stash and files are only read.
    """
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    run("git", "read-tree", "HEAD", environment=index)
    run("git", "add", "--update", environment=index)
    run("git", "add", "--all", "--", *(name for name in RESULTS if Path(name).exists()), environment=index)
    return run("git", "write-tree", environment=index)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is deleted at the end, after deleting those that killed processes have left.

    A process locks its folder, so that one that can be locked belongs to no process.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if folder.is_symlink():
            continue
        with suppress(OSError, Timeout), FileLock(folder / LOCK, timeout=0):  # in use, another user's, or deleted
            shutil.rmtree(folder)
    with tempfile.TemporaryDirectory(prefix=PREFIX) as temporary, FileLock(Path(temporary) / LOCK):
        yield Path(temporary)


@contextmanager
def copies(count: int = 1, *, committed: bool = False) -> Iterator[list[Path]]:
    """Yield `count` copies of the project in the current folder, with its current files staged or, if `committed`, with
    those of HEAD.

    Each is a clone of the repository, or the same subfolder of a clone, at its HEAD. The clones share the repository's
    objects but not its data and cache, and are deleted at the end. Raises UserError if no commit contains the project.
    """
    if fault := fault_of_folder(Path.cwd()):
        raise UserError(fault)
    top, subfolder, head = run("git", "rev-parse", "--show-toplevel", "--show-prefix", "HEAD").split("\n")
    objects = Path(run("git", "rev-parse", "--git-path", "objects")).resolve()
    if not committed:
        check_lock_files()
    with temporary_folder() as temporary:
        tree = "HEAD" if committed else snapshot(temporary)
        clones = [temporary / f"copy{number}" for number in range(count)]
        for clone in clones:
            run("git", "clone", "--quiet", "--shared", "--no-checkout", top, str(clone))
            # A clone of a shallow clone does not share its objects by itself.
            (clone / ".git/objects/info/alternates").write_text(f"{objects}\n")
            run("git", "checkout", "--quiet", "--detach", head, folder=clone)
            run("git", "read-tree", "-u", "--reset", tree, folder=clone)
        yield [clone / subfolder for clone in clones]


def link_raw_data(folder: Path) -> None:
    """Let a copy use this project's files in data/raw."""
    RAW.mkdir(parents=True, exist_ok=True)
    (folder / RAW).parent.mkdir(exist_ok=True)
    (folder / RAW).symlink_to(RAW.resolve())


def reproduce(folder: Path) -> None:
    """Run `make reproduce` in a copy, with this environment and this project's data/raw.

    Raises UserError if it fails.
    """
    link_raw_data(folder)
    # This environment is ready, whatever the modification times of the copied files are.
    command = ["make", "--no-print-directory", "--old-file=.venv/ready", "reproduce"]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        raise UserError("`make reproduce` failed in a copy of the project; see the messages above.")
