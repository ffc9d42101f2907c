"""Recompute the results of the last commit and compare them with those in git, byte for byte: `make verify`.

All of it happens in a temporary clone of that commit, with nothing but the images of this folder, whose sha256 is
checked: no model, checkpoint or cache. So this verifies the commit, HEAD, whatever has changed in the folder since.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import datetime
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from commands.deviations import first_difference
from commands.interruption import end_together
from commands.machine import machine
from commands.publish import LOCK, object_path, outs_in, outs_of
from commands.scratch import copies, run
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically
from lenet5.support.params import load_params, technique_settings
from lenet5.support.paths import PARAMS, RAW
from lenet5.support.schema import read_yaml

EXAMPLES = """examples:
  python -m commands.verify                     the whole study, and a row for docs/verified-on.md
  python -m commands.verify dropout             one technique, with the data that it needs
  python -m commands.verify --replicates 2      two replicates, drawn at random
"""
TABLE = Path("docs/verified-on.md")

Stages = dict[str, Any]


def stages_of(folder: Path) -> Stages:
    """Return what dvc.lock in a folder records of each stage, or nothing if there is none."""
    return (read_yaml(folder / LOCK) if (folder / LOCK).exists() else {}).get("stages", {})  # type: ignore[no-any-return]


def uncommitted() -> list[str]:
    """Return the names of the files that differ from the last commit. Git's index is only read."""
    changed = run("git", "--no-optional-locks", "diff", "--name-only", "--relative", "HEAD").splitlines()
    return changed + run("git", "ls-files", "--others", "--exclude-standard").splitlines()


def isolate(folder: Path) -> dict[str, str]:
    """Let a copy compute everything itself: with a cache of its own and its own data/raw, in which files that are
    missing here are downloaded. Return the environment variables for its commands."""
    write_atomically(folder / ".dvc/config.local", b"[cache]\n    dir = cache\n")  # wherever a user's own cache is
    (folder / RAW).mkdir(parents=True, exist_ok=True)
    for path in RAW.iterdir() if RAW.is_dir() else ():
        if not (folder / RAW / path.name).exists():
            (folder / RAW / path.name).symlink_to(path.resolve())
    # Next to the copy, and deleted with it even if a command in it is killed
    temporary = folder.with_name("temporary")
    temporary.mkdir()
    return {"TMPDIR": str(temporary), "DVC_SITE_CACHE_DIR": str(temporary)}


def call(folder: Path, environment: dict[str, str], *module: str) -> None:
    """Run a module of the copy. Raises UserError if it fails."""
    command = [sys.executable, "-m", *module]
    if subprocess.run(command, cwd=folder, env=os.environ | environment, check=False).returncode:
        raise UserError(f"`python -m {' '.join(module)}` failed in a copy of the last commit; see the messages above.")


def set_aside(committed: Stages, folder: Path) -> Path:
    """Move dvc.lock and the results that git has to another folder and return it: what the copy has later is new.

    Of a model, git has the published file.
    """
    aside = folder.with_name("committed")
    (folder / LOCK).unlink()
    for path, md5 in outs_in({"stages": committed}).items():
        source = folder / (path if (folder / path).exists() else object_path(md5))
        if source.is_file():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, aside / path)
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)
        else:
            (folder / path).unlink(missing_ok=True)
    return aside


def deviations(expected: Stages, stage: Stages, aside: Path, folder: Path) -> list[str]:
    """Return one line for each result of a stage that is not what the commit has."""
    lines = []
    for path, md5 in outs_of(stage).items():
        old, new = outs_of(expected).get(path), folder / path
        if (aside / path).exists() and (aside / path).read_bytes() != new.read_bytes():
            lines.append(f"{path}: {first_difference(aside / path, new)}")
        elif old != md5:
            lines.append(f"{path}: {LOCK} {f'has the md5 {old}' if old else 'does not list it'}; here its md5 is {md5}")
    return lines


def recompute(techniques: list[str], folder: Path) -> tuple[int, dict[str, list[str]]]:
    """Compute the study, or some techniques of it, in a copy of the last commit, and print what is equal. Return the
    number of results, and the deviations of each stage that has any."""
    params, committed = load_params(folder / PARAMS), stages_of(folder)
    for name in techniques or params.techniques:
        technique_settings(params, name)
        if f"evaluate@{name}" not in committed:
            raise UserError(
                f"{LOCK} of the last commit has no results of {name}. Run `make reproduce` and commit what it writes, "
                "then verify."
            )
    aside = set_aside(committed, folder)
    call(folder, isolate(folder), "commands.reproduce", *techniques)
    computed, different = stages_of(folder), {}
    for name in sorted(computed, key=[*committed, *computed].index):
        expected, stage = committed.get(name, {}), computed[name]
        if lines := deviations(expected, stage, aside, folder):
            different[name] = lines
            print("\n  ".join([f"{name}: different", *lines]))
        else:
            same = expected | {"outs": None} == stage | {"outs": None}
            note = "" if same else f" (computed from other files than those in {LOCK})"
            print(f"{name}: equal{note}: {', '.join(outs_of(stage))}")
    return sum(len(outs_of(stage)) for stage in computed.values()), different


def row(about: dict[str, str], verdict: str, commit: str) -> str:
    """Return the row of this machine in TABLE."""
    processor = f"{about['processor']} ({about['model']})" if about["model"] else about["processor"]
    cells = [processor, about["vectors"], about["compiler"], about["torch"], verdict]
    return f"| {' | '.join(cells)} | {datetime.date.today()}, {commit} |"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.verify",
        description="Recompute the results of the last commit in a temporary copy and compare them, byte for byte.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("techniques", nargs="*", metavar="TECHNIQUE", help="verify only this technique (default: all)")
    parser.add_argument("--replicates", metavar="N", help="verify N replicates, drawn at random, instead")
    options = parser.parse_args(arguments)
    if options.replicates and options.techniques:
        parser.error("give techniques or --replicates, not both")

    commit, about = run("git", "rev-parse", "--short", "HEAD"), machine()
    print(f"Verifying commit {commit} on this machine:")
    print("\n".join(f"  {name}: {value}" for name, value in about.items() if value))
    if names := uncommitted():
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        print(f"Not verified, since not committed: changes of {', '.join(names[:5])}{more}")
    sys.stdout.flush()
    with copies(committed=True) as [folder]:
        if options.replicates:
            call(folder, isolate(folder), "replication.audit", options.replicates)
            return
        count, different = recompute(list(dict.fromkeys(options.techniques)), folder)
    total = sum(map(len, different.values()))
    if not options.techniques:
        verdict = f"{total} of {count} differ" if different else "equal"
        print(f"The row of this machine for {TABLE}:\n{row(about, verdict, commit)}", flush=True)
    if different:
        raise UserError(
            f"{total} of {count} results differ from those of commit {commit}, in {', '.join(different)}. "
            "docs/reproducibility.md describes where they should be equal."
        )
    print(f"All {count} results are those of commit {commit}, byte for byte.")


if __name__ == "__main__":
    end_together()
    main(sys.argv[1:])
