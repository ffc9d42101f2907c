"""dvc.yaml against what the stages really import and read: a forgotten dependency is a silently stale result."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.project import Project, yaml

# Runs a module as a stage and prints the project's files that it opened for reading.
WATCH = """
import json, os, runpy, sys
opened = set()
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not arguments[1] in ("w", "a", "x", "wb", "ab", "w+b"):
        path = os.path.relpath(arguments[0])
        if not path.startswith(("..", "/")) and os.path.isfile(path):
            opened.add(path)
sys.addaudithook(watch)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
print("\\n" + json.dumps({"opened": sorted(opened)}))
"""


FILLED = {"key": "dropout", "selected": "baseline"}
FILLED |= {"item.technique": "dropout", "item.seed": "0", "learning_rate": "0.01", "control.learning_rate": "0.001"}


def stages(file: str = "dvc.yaml") -> dict[str, dict[str, Any]]:
    """Every stage, of a `foreach` or a `matrix` the one for `dropout`; all run in the project's top folder."""
    text = (ROOT / file).read_text()
    for name, value in FILLED.items():
        text = text.replace(f"${{{name}}}", value)
    return {name: stage.get("do", stage) for name, stage in yaml.load(text)["stages"].items()}


def entry(item: Any) -> str:
    return item if isinstance(item, str) else str(next(iter(item)))


def written(stage: dict[str, Any]) -> set[str]:
    return {entry(item) for kind in ("outs", "metrics", "plots") for item in stage.get(kind, ())}


@pytest.mark.parametrize("name", stages())
def test_a_stage_imports_and_reads_exactly_what_dvc_yaml_says(name: str, project: Project) -> None:
    assert_reads_what_it_says(name, stages()[name], project)


def assert_reads_what_it_says(name: str, stage: dict[str, Any], project: Project) -> None:
    """Runs the stage in the project."""
    _python, _m, *command = stage["cmd"].removeprefix("exec ").split()
    output = project.run(sys.executable, "-B", "-c", WATCH, *command, PYTHONDONTWRITEBYTECODE="1").stdout
    opened = {path.replace("__pycache__/", "") for path in json.loads(output.splitlines()[-1])["opened"]}
    opened = {re.sub(r"\.cpython-\d+\.pyc$", ".py", path) for path in opened}
    results = written(stage)
    read = {
        path for path in opened if path not in results and not path.startswith((".checkpoints/", "logs/", "data/raw/"))
    }
    declared = set(stage["deps"])
    # A params.yaml is declared by its keys, under `params`. An empty file says nothing, until it is filled.
    by_keys = {"params.yaml" if isinstance(item, str) else entry(item) for item in stage.get("params", ())}
    read = {path for path in read - by_keys if (project.root / path).stat().st_size}
    folders = {path for path in declared if not Path(path).suffix}
    assert {path for path in read if not any(path.startswith(f"{folder}/") for folder in folders)} <= declared
    unused = {path for path in declared if path.endswith(".py") and not any(r.startswith(path) for r in read)}
    assert not unused, f"dvc.yaml's stage {name} lists modules that it does not import: {unused}"


def test_every_technique_stands_in_every_comparison_of_dvc_plots() -> None:
    plots = yaml.load(ROOT / "dvc.yaml")["plots"]
    expected = [f"metrics/curves/{name}.csv" for name in yaml.load(ROOT / "params.yaml")["techniques"]]
    for plot in plots:
        (title, definition), *_ = plot.items()
        # The order decides on the colours, which are those of the other figures then.
        assert list(definition["y"]) == expected, f"dvc.yaml: the y of the plot '{title}' must list {expected}"


def test_stages_that_compute_share_no_other_file() -> None:
    outputs = [path for stage in stages().values() for path in written(stage)]
    assert len(outputs) == len(set(outputs))
