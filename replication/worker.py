"""Compute replicates by name and share them, which any number of machines can do at once, each in a clone of its own of
the same commit. They share through DVC's default remote.

`python -m replication.worker replicate@dropout-3 control@baseline-0`, or `--shard 2/16`, the second sixteenth of all

A name that the remote already has is not computed. Each replicate is shared as soon as it is there, so a worker that is
killed loses no more than the one it was at, and the same line goes on with that from its last epoch. A collector, one
more clone, joins what was shared: `cd replication && dvc repro --pull`.

DVC's own commands would share nothing here: of a stage whose results are git's (an `outs` with `cache: false`), `dvc
repro` puts none into the run cache, and `dvc push` pushes none. It restores them like any other.
"""

import argparse
import re
import subprocess

from dvc.exceptions import UploadError
from dvc.parsing import JOIN
from dvc.repo import Repo

from replication.run import PIPELINE
from stages.errors import UserError

FILE = PIPELINE / "dvc.yaml"


def replicates(repo: Repo) -> list[str]:
    """Names of the stages that a matrix generates: the replicates. The others join them."""
    return [stage.name for stage in repo.stage.load_all(str(FILE)) if JOIN in stage.name]


def shard(text: str, names: list[str]) -> list[str]:
    """Every n-th of `names` from the i-th on, for the text "i/n"."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--shard {text} is none; it is written 1/16, 2/16 ... 16/16 for the sixteenths of the names.")
    return names[number - 1 :: count]


def check(repo: Repo, names: list[str]) -> None:
    """Raises UserError for an unknown name or a remote that cannot be read: better told before hours of training."""
    if unknown := [name for name in names if name not in replicates(repo)]:
        raise UserError(
            f"{', '.join(unknown)}: no such replicate in {FILE}; nothing was computed. "
            f"`dvc stage list --name-only {FILE}` lists the names; those with an {JOIN} are replicates."
        )
    if not repo.config["core"].get("remote"):
        raise UserError(
            "DVC has no default remote here, so nobody would get what this worker computes; nothing was computed. "
            "Add one: `dvc remote add --default shared s3://BUCKET/FOLDER`. replication/README.md says more."
        )
    try:
        repo.stage_cache.pull(None)
    except Exception as error:  # each kind of remote has its own
        raise UserError(f"DVC's default remote cannot be read; nothing was computed. It says: {error}") from error


def share(name: str) -> None:
    """Put the stage into the run cache and push it: first its results, so that no run names what the remote has not."""
    with Repo() as repo:
        stage = repo.stage.load_one(str(FILE), name)
        repo.stage_cache.save(stage)
        results = {out.hash_info for out in stage.outs}
        if repo.cloud.push(results).failed:
            raise UploadError(len(results))
        repo.stage_cache.push(None)


def compute(name: str) -> bool:
    """Have the replicate computed, unless somebody has, and share it. Whether that worked; if not, DVC said why."""
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", "--pull", f"{FILE}:{name}"]
    if subprocess.run(command, check=False).returncode:
        return False
    try:
        share(name)
    except Exception as error:
        print(f"{name} was computed but not shared: {error}", flush=True)
        return False
    return True


def main(names: list[str], part: str | None = None) -> None:
    with Repo() as repo:
        names = names + (shard(part, replicates(repo)) if part else [])
        check(repo, names)
    if failed := [name for name in names if not compute(name)]:
        raise UserError(
            f"{len(failed)} of {len(names)} failed: {', '.join(failed)}. Why is said above. "
            "Mend that, and the same command goes on from here."
        )
    print(f"{len(names)} of {len(names)} replicates are shared.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m replication.worker", description="Compute replicates, share them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="stages, such as replicate@dropout-3")
    parser.add_argument("--shard", dest="part", metavar="I/N", help="the I-th of N shares of all replicates")
    arguments = parser.parse_args()
    if not arguments.names and not arguments.part:
        parser.error("say what to compute: a NAME, or --shard I/N")
    main(**vars(arguments))
