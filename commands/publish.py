"""Put the models that dvc.lock names into .dvc/models, the DVC remote in git, and nothing else: `make publish`.

From there, `dvc pull train` restores them in a clone.
"""

from lenet5.support.process import set_up

set_up()

import hashlib
from pathlib import Path

from commands.scratch import run
from lenet5.support.errors import UserError
from lenet5.support.params import load_params
from lenet5.support.paths import MODELS
from lenet5.support.schema import read_yaml

REMOTE = "models"  # its name in .dvc/config
FOLDER = Path(".dvc/models")
LOCK = Path("dvc.lock")


def named_models() -> dict[str, str]:
    """Return the md5 of each technique's model in dvc.lock. Raises UserError if one is missing."""
    stages = (read_yaml(LOCK) or {}).get("stages", {})
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}
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
    print(f"{FOLDER} holds the {len(models)} models of {LOCK}, {size / 1e6:.1f} MB. Commit both.")


if __name__ == "__main__":
    main()
