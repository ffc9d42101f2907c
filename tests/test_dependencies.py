"""dvc.yaml against the files that the stages really read: a forgotten dependency is a result that is silently stale."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.project import Project, yaml

# Runs a module as a program and prints the project's files that it opened for reading.
WATCH = """
import json, os, runpy, sys
opened = set()
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not arguments[1] in ("w", "a", "x", "wb", "ab", "w+b"):
        path = os.path.relpath(arguments[0])
        if not path.startswith(("..", "/")) and os.path.isfile(path):
            opened.add(path)
sys.addaudithook(watch)
sys.dont_write_bytecode = True
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
print("\\n" + json.dumps({"opened": sorted(opened)}))
"""

CODE = ("lenet5", "stages", "commands", "replication")
# Dependencies whose files need not all be read; replication/dvc.yaml gives the reason.
WHOLE = ("lenet5", "replication/analysis")
NOT_RESULTS = (".checkpoints/", "logs/", "data/raw/")
FILLED = {"key": "dropout", "selected": "baseline"}
FILLED |= {"item.technique": "dropout", "item.seed": "0", "learning_rate": "0.01", "control.learning_rate": "0.001"}
FILLED |= {"item.recipe": "augmented"}


def stages(file: str = "dvc.yaml") -> dict[str, dict[str, Any]]:
    """Return every stage of the file; of a `foreach` or a `matrix`, the stage for `dropout`."""
    text = (ROOT / file).read_text()
    for name, value in FILLED.items():
        text = text.replace(f"${{{name}}}", value)
    return {name: stage.get("do", stage) for name, stage in yaml.load(text)["stages"].items()}


def entry(item: Any) -> str:
    """Return the path of an entry in dvc.yaml, which may have options."""
    return item if isinstance(item, str) else str(next(iter(item)))


def written(stage: dict[str, Any]) -> set[str]:
    """Return the paths of the stage's results."""
    return {entry(item) for kind in ("outs", "metrics", "plots") for item in stage.get(kind, ())}


def files_read(stage: dict[str, Any], project: Project) -> set[str]:
    """Run the stage, and return the project's files that it reads. Empty files are left out: they hold nothing."""
    _python, _m, *command = stage["cmd"].removeprefix("exec ").split()
    watch = project.root / "stages/watch.py"
    watch.write_text(WATCH)
    output = project.run("python", "-m", "stages.watch", *command).stdout
    opened = {path.replace("__pycache__/", "") for path in json.loads(output.splitlines()[-1])["opened"]}
    opened -= {str(watch.relative_to(project.root))}
    opened = {re.sub(r"\.cpython-\d+\.pyc$", ".py", path) for path in opened} - written(stage)
    return {path for path in opened if not path.startswith(NOT_RESULTS) and (project.root / path).stat().st_size}


def code_files(path: str, project: Project) -> set[str]:
    """Return the files of a dependency on code that are not empty: the file itself, or all those in the folder."""
    found = [project.root / path, *(project.root / path).rglob("*")]
    files = [file for file in found if file.is_file() and "__pycache__" not in file.parts and file.stat().st_size]
    return {str(file.relative_to(project.root)) for file in files}


def is_code(path: str) -> bool:
    return Path(path).parts[0] in CODE


def mistakes(stage: dict[str, Any], read: set[str], project: Project) -> list[str]:
    """Return one line per file in which what the stage declares differs from what it reads."""
    # params.yaml and its like are declared by their keys.
    by_key = {"params.yaml" if isinstance(item, str) else entry(item) for item in stage.get("params", ())}
    declared = stage.get("deps", [])
    undeclared = {path for path in read - by_key if not any(Path(path).is_relative_to(one) for one in declared)}
    code = {file for one in declared if is_code(one) and one not in WHOLE for file in code_files(one, project)}
    lines = [f"{path} is read, but is not a dependency" for path in undeclared]
    return sorted(lines + [f"{path} is a dependency, but is not read" for path in code - read])


@pytest.mark.parametrize("name", stages())
def test_a_stage_reads_exactly_its_declared_dependencies(name: str, project: Project) -> None:
    stage = stages()[name]
    assert mistakes(stage, files_read(stage, project), project) == []


def test_unread_and_undeclared_files_are_reported(project: Project) -> None:
    stage = stages()["train"]
    (project.root / "lenet5/network/unused.py").write_text("# Nothing imports this.\n")
    read = files_read(stage, project)
    unused = "lenet5/network/unused.py is a dependency, but is not read"
    assert mistakes(stage, read, project) == [unused]
    stage["deps"] = [path for path in stage["deps"] if path not in ("lenet5/training", "data/prepared")]
    modules = code_files("lenet5/training", project) | {f"data/prepared/{name}.pt" for name in ("test", "train")}
    modules |= {"data/prepared/validation.pt"}
    assert mistakes(stage, read, project) == sorted(
        [unused, *(f"{path} is read, but is not a dependency" for path in modules)]
    )


@pytest.mark.parametrize("file", ["dvc.yaml", "replication/dvc.yaml", "replication/tuning/dvc.yaml"])
def test_a_stage_has_at_most_six_code_dependencies(file: str) -> None:
    counts = {name: sum(map(is_code, stage.get("deps", []))) for name, stage in stages(file).items()}
    assert {name: count for name, count in counts.items() if count > 6} == {}


@pytest.mark.parametrize(
    ("file", "limit"), [("dvc.lock", 750), ("replication/dvc.lock", 5_500), ("replication/tuning/dvc.lock", 5_000)]
)
def test_a_lock_file_stays_short_enough_to_read(file: str, limit: int) -> None:
    if not (ROOT / file).exists():
        pytest.skip(f"{file} is not computed yet")
    assert len((ROOT / file).read_text().splitlines()) < limit
