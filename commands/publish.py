"""Put the models that dvc.lock names into .dvc/models, the DVC remote in git, and nothing else: `make publish`.

From there, `dvc pull train` restores them in a clone. Once they are committed, each gets an annotated tag with the
version in pyproject.toml, such as dropout@v1.0.0, in which `dvc artifacts get . dropout` finds it. Tags never move.
"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from commands.scratch import run
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import MODELS
from lenet5.support.schema import read_yaml

REMOTE = "models"  # its name in .dvc/config
FOLDER = Path(".dvc/models")
LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")
PROJECT = Path("pyproject.toml")
VERSION = re.compile(r"\d+\.\d+\.\d+")  # as DVC reads it


def outs_of(stage: Any) -> dict[str, str]:
    """Return the md5 of each result of a stage in a dvc.lock, by its path."""
    return {out["path"]: out["md5"] for out in stage.get("outs", ())}


def outs_in(lock: Any) -> dict[str, str]:
    """Return the same of all stages in the content of a dvc.lock."""
    return {path: md5 for stage in (lock or {}).get("stages", {}).values() for path, md5 in outs_of(stage).items()}


def named_models() -> dict[str, str]:
    """Return the md5 of each technique's model in dvc.lock. Raises UserError if one is missing."""
    outs = outs_in(read_yaml(LOCK))
    paths = [str(MODELS / f"{technique}.pt") for technique in load_params().techniques]
    if missing := [path for path in paths if path not in outs]:
        raise UserError(f"{LOCK} does not name {', '.join(missing)}. Run `make reproduce`, then publish.")
    return {path: outs[path] for path in paths}


def object_path(md5: str) -> Path:
    """Return where the folder has the model with this md5."""
    return FOLDER / "files/md5" / md5[:2] / md5[2:]


def published() -> dict[str, Path]:
    """Return the intact objects in the folder, by their md5, and the other files, by their path."""
    found = {}
    for path in (path for path in FOLDER.rglob("*") if path.is_file()):
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        found[md5 if path == object_path(md5) else str(path)] = path
    return found


def version() -> str:
    """Return the version of the project. Raises UserError if it is not one that DVC reads in a tag."""
    found = str(tomllib.loads(PROJECT.read_text("utf-8")).get("project", {}).get("version"))
    if not VERSION.fullmatch(found):
        raise UserError(f"version in {PROJECT} is {found!r}, but must be three numbers, such as 1.0.0, to tag models.")
    return found


def missing_tags(models: dict[str, str]) -> dict[str, str]:
    """Return the tags that git lacks for these models, with the path of each.

    Raises UserError if a tag with this version is of another model, or not annotated, so that DVC ignores it.
    """
    artifacts = read_yaml(PIPELINE).get("artifacts", {})
    paths = {name: artifact["path"] for name, artifact in artifacts.items() if artifact["path"] in models}
    tags = {f"{name}@v{version()}": path for name, path in paths.items()}
    listed = run("git", "for-each-ref", "--format=%(refname:strip=2) %(objecttype)", "refs/tags").splitlines()
    kinds = dict(line.split() for line in listed)
    mistakes = []
    for name, path in tags.items():
        if kinds.get(name) == "tag" and tagged_models(name).get(path) != models[path]:
            mistakes.append(
                f"{name} is a tag of another {path}, and tags do not move. Raise the version in {PROJECT} and "
                "CITATION.cff, commit it, and run this again."
            )
        elif name in kinds and kinds[name] != "tag":
            mistakes.append(f"The tag {name} is not annotated. Run `git tag --delete {name}`, then this again.")
    if mistakes:
        raise UserError("\n".join(mistakes))
    return {name: path for name, path in tags.items() if name not in kinds}


def tagged_models(name: str) -> dict[str, str]:
    """Return the md5 of each result in the dvc.lock of a tag."""
    return outs_in(YAML(typ="safe", pure=True).load(run("git", "show", f"{name}:./{LOCK}")))


def tag(models: dict[str, str]) -> None:
    """Create the annotated tags that are missing, if everything that they name is committed."""
    files = map(str, (FOLDER, LOCK, PIPELINE, PROJECT))
    if run("git", "status", "--porcelain", "--", *files):
        print(f"Commit {FOLDER} together with {LOCK}, {PIPELINE} and {PROJECT}, then run this again to tag the models.")
        return
    tags = missing_tags(models)
    for name, path in tags.items():
        run("git", "tag", "--annotate", name, "--message", f"{path}, md5 {models[path]}")
    if tags:
        print(f"Created the tags {', '.join(tags)}. `git push --follow-tags` shares them.")


def main() -> None:
    models = named_models()
    for key, path in published().items():
        if key not in models.values():
            path.unlink()
    run("dvc", "push", "--remote", REMOTE, *models)
    intact = published()
    if missing := [path for path, md5 in models.items() if md5 not in intact]:
        raise UserError(f"DVC's cache does not have {', '.join(missing)}. Run `make reproduce`, then publish.")
    size = sum(path.stat().st_size for path in intact.values())
    print(f"{FOLDER} holds the {len(models)} models of {LOCK}, {size / 1e6:.1f} MB.", flush=True)
    tag(models)


if __name__ == "__main__":
    take_no_arguments()
    main()
