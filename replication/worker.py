"""Compute replicates by name and share them through DVC's default remote.

`python -m replication.worker replicate@dropout-3 control@baseline-0`, or `--shard 2/16`, the second sixteenth of all

Any number of machines can do this at once, each in its own clone of the same commit. A replicate that the remote
already has is not computed. Each one is shared as soon as it is complete, so a killed worker loses at most the one it
was computing, and the same command resumes that after its last epoch. A collector, another clone, joins the replicates:
`cd replication && dvc repro --pull`.

DVC's own commands share nothing here: if the results of a stage are in git (an `outs` with `cache: false`), `dvc repro`
does not save them to the run cache and `dvc push` does not push them. It restores them like any others, but compares no
digest: so the worker reads what was restored, and computes it again if it is truncated or otherwise invalid.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from dvc.exceptions import UploadError
from dvc.parsing import JOIN
from dvc.repo import Repo

from lenet5.support.errors import UserError
from replication.analysis.plan import load_plan
from replication.recipes.plan import load_recipes
from replication.run import PIPELINE, output
from replication.runs import read_result

FILE = PIPELINE / "dvc.yaml"
COPYING = 300  # seconds; a file of this age whose name says that it is being copied is left over
PUBLISHED = "models"  # the remote in git, from which clones pull the models


def replicates(repo: Repo) -> list[str]:
    """Return the names of the replicates: the stages that a matrix generates."""
    return [stage.name for stage in repo.stage.load_all(str(FILE)) if JOIN in stage.name]


def shard(text: str, names: list[str]) -> list[str]:
    """Return every n-th of `names`, starting with the i-th, for the text "i/n"."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UserError(f"--shard {text} is not valid; write 1/16, 2/16 ... 16/16 for the sixteenths of the names.")
    return names[number - 1 :: count]


def check(repo: Repo, names: list[str]) -> None:
    """Raise UserError, before hours of training, for an unknown name, a stale fingerprint or an unreadable remote."""
    known = set(replicates(repo))
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"{', '.join(unknown)}: not a replicate in {FILE}; nothing was computed. "
            f"`(cd replication && dvc stage list --name-only)` lists the names; those with an {JOIN} are replicates."
        )
    if json.loads(output("status", "--json", "fingerprint")):
        raise UserError(
            "metrics/fingerprint.json is not up to date with the code; nothing was computed. In one clone, run "
            "`cd replication && dvc repro fingerprint`, commit the result, and use that commit in all clones."
        )
    if repo.config["core"].get("remote") in (None, PUBLISHED):
        raise UserError(
            "DVC has no default remote of yours, so the results could not be shared; nothing was computed. "
            "Add one: `dvc remote add --default shared s3://BUCKET/FOLDER` (see docs/many-machines.md)."
        )
    try:
        remote = remote_of(repo)
        if remote.fs.protocol == "local" and not Path(remote.path).is_dir():
            raise FileNotFoundError(f"there is no folder {remote.path}; create it, or correct the path")
        delete_partial_runs(remote, repo.cache.legacy)
        repo.stage_cache.pull(None)
    except Exception as error:  # each kind of remote has its own exceptions
        raise UserError(f"DVC's default remote cannot be read; nothing was computed. Its error: {error}") from error


def result_of(name: str) -> Path:
    """Return the path of the file that a stage writes."""
    with Repo() as repo:
        (out,) = repo.stage.load_one(str(FILE), name).outs
        return Path(out.fs_path).relative_to(Path.cwd())


def remote_of(repo: Repo, hash_name: str = "md5-dos2unix") -> Any:
    """Return the default remote. DVC keeps runs under this hash name, results under "md5"."""
    return repo.cloud.get_remote_odb(command="push", hash_name=hash_name)


def delete_partial_runs(*places: Any) -> None:
    """Delete what interrupted copies have left in the run caches that are folders. DVC takes the newest file there for
    a run, finds that it is invalid, and computes the replicate again."""
    for folder in (Path(place.path, "runs") for place in places if place.fs.protocol == "local"):
        for path in folder.rglob("*.tmp"):
            if time.time() - path.stat().st_mtime > COPYING:
                path.unlink(missing_ok=True)


def share(name: str) -> None:
    """Save the stage to the run cache and push it: the results first, so that no run refers to a missing result. Raises
    UserError if the remote does not have both afterwards: DVC only logs that it could not copy a run.

    DVC keeps an object that exists, so one that differs from the result, in the cache or on the remote, is deleted.
    """
    with Repo() as repo:
        stage = repo.stage.load_one(str(FILE), name)
        (out,) = stage.outs
        result = Path(out.fs_path).read_bytes()
        remote, remote_runs = remote_of(repo, "md5"), remote_of(repo)
        for objects in (repo.cache.local, remote):
            path = objects.oid_to_path(out.hash_info.value)
            if objects.fs.exists(path) and objects.fs.cat_file(path) != result:
                objects.delete(out.hash_info.value)
        repo.stage_cache.save(stage)
        if repo.cloud.push({out.hash_info}).failed:
            raise UploadError(1)
        repo.stage_cache.push(None)
        pushed = {remote.oid_to_path(out.hash_info.value): result}
        local = Path(repo.cache.legacy.path)
        for run in local.glob(f"runs/*/*/{'[0-9a-f]' * 64}"):
            if out.def_path in (text := run.read_text()):
                pushed[remote.fs.join(remote_runs.path, *run.relative_to(local).parts)] = text.encode()
        for path, content in pushed.items():
            if not remote.fs.exists(path) or remote.fs.cat_file(path) != content:
                raise UserError(f"{path} is missing or incomplete on the remote. Free some space there")


def reproduce(name: str, option: str) -> bool:
    """Let DVC compute or restore the replicate. Return whether that succeeded."""
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", option, f"{FILE}:{name}"]
    return subprocess.run(command, check=False).returncode == 0


def compute(name: str) -> bool:
    """Compute the replicate, unless the remote has it intact, and share it. Return whether that succeeded."""
    if not reproduce(name, "--pull"):
        return False
    path = result_of(name)
    try:
        read_result(path)
    except UserError as error:
        print(f"{error}. It is deleted, and {name} is computed again.", flush=True)
        path.unlink()
        if not reproduce(name, "--force"):
            return False
    try:
        share(name)
    except Exception as error:
        print(f"{name} was computed but not shared: {error}", flush=True)
        return False
    return True


def main(names: list[str], part: str | None = None) -> None:
    load_plan()  # reports mistakes before anything is computed
    load_recipes()
    with Repo() as repo:
        names = names + (shard(part, replicates(repo)) if part else [])
        check(repo, names)
    if failed := [name for name in names if not compute(name)]:
        raise UserError(
            f"{len(failed)} of {len(names)} failed: {', '.join(failed)}. See the messages above; "
            "fix the cause and run the same command to resume."
        )
    print(f"{len(names)} of {len(names)} replicates are shared.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m replication.worker", description="Compute replicates and share them."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="stages, such as replicate@dropout-3")
    parser.add_argument("--shard", dest="part", metavar="I/N", help="the I-th of N shares of all replicates")
    arguments = parser.parse_args()
    if not arguments.names and not arguments.part:
        parser.error("nothing to compute: give a NAME or --shard I/N")
    main(**vars(arguments))
