"""Where users are: workflows, dev container, editor, pre-commit, citation. What can be run without them is run."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from commands.lock import WHEELS
from tests.conftest import ROOT
from tests.project import Project

WORKFLOWS = ROOT / ".github/workflows"
CONTAINER = ROOT / ".devcontainer/devcontainer.json"
HOOKS = ROOT / ".pre-commit-config.yaml"


def read(path: Path) -> Any:
    """Return the content of a YAML or JSON file."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("checker", "text", "replacement", "message"),
    [
        ("actionlint", "runs-on: ubuntu-24.04\n", "runs-on: ubuntu-3\n", 'label "ubuntu-3" is unknown'),
        ("actionlint", "matrix.python }}", "matrix.snake }}", 'property "snake" is not defined'),
        ("zizmor --offline", "de0fac2e4500dabe0009e67214ff5f5447ce83dd", "v6", "unpinned-uses"),
        ("zizmor --offline", "persist-credentials: false", "fetch-depth: 1", "artipacked"),
        ("zizmor --offline", "run: make test", "run: echo ${{ github.head_ref }}", "template-injection"),
    ],
)
def test_a_mistake_in_a_workflow_is_reported(
    checker: str, text: str, replacement: str, message: str, tmp_path: Path
) -> None:
    shutil.copy(WORKFLOWS / "test.yml", tmp_path)
    program, *options = checker.split()
    command = [str(Path(sys.executable).with_name(program)), *options, str(tmp_path / "test.yml")]
    assert checker in (ROOT / "Makefile").read_text()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    content = (tmp_path / "test.yml").read_text()
    assert text in content
    (tmp_path / "test.yml").write_text(content.replace(text, replacement))
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode != 0
    assert message in result.stdout


def test_every_place_names_the_same_versions_of_python() -> None:
    pythons = read(WORKFLOWS / "test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    [limits] = re.findall(
        r"\((3, \d+)\) <= sys.version_info < \((3, \d+)\)", (ROOT / "commands/environment.py").read_text()
    )
    oldest, after_newest = (int(limit.removeprefix("3, ")) for limit in limits)
    newest = after_newest - 1
    assert pythons == [f"3.{oldest}", f"3.{newest}"]
    expected = {
        "pyproject.toml": f'requires-python = ">=3.{oldest},<3.{after_newest}"',
        "commands/lock.py": f"# of CPython 3.{oldest} to 3.{newest} on Linux",
        "README.md": f"Python 3.{oldest} to 3.{newest}",
        "CONTRIBUTING.md": f"Python 3.{oldest} to 3.{newest}",
    }
    assert [path for path, text in expected.items() if text not in (ROOT / path).read_text()] == []
    wheels = [f"torch-2-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl" for minor in range(oldest - 1, newest + 2)]
    assert [bool(re.search(WHEELS, name)) for name in wheels] == [False, *[True] * (len(wheels) - 2), False]


def test_what_other_places_call_is_a_target_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    steps = [step for path in WORKFLOWS.glob("*.yml") for job in read(path)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    commands += [read(CONTAINER)["onCreateCommand"], *(hook["entry"] for hook in read(HOOKS)["repos"][0]["hooks"])]
    called = re.findall(r"(?:^|&& )make ([a-z]+)$", "\n".join(commands), re.MULTILINE)
    assert {"test", "smoke", "environment", "lint"} == set(called) and set(called) <= set(targets)


def test_a_pull_request_shows_its_metrics_and_parameters(project: Project, tmp_path: Path) -> None:
    project.commit("results")
    path = project.root / "metrics/evaluation/dropout.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test_accuracy": 12.5}))
    project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.375))
    project.commit("change")

    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", "--depth=2", f"file://{project.root}", str(clone.root))
    (clone.root / ".venv/bin").mkdir(parents=True)
    (clone.root / ".venv/bin/activate").touch()  # the programs of the tests are on the path already
    [step] = [step for step in read(WORKFLOWS / "compare.yml")["jobs"]["compare"]["steps"] if "name" in step]
    clone.run("bash", "-e", "-c", step["run"], GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    rows = [line for line in (tmp_path / "summary.md").read_text().splitlines() if re.match(r"\| \w+[./]", line)]
    assert len(rows) == 2
    assert re.search(r"metrics/evaluation/dropout.json +\| test_accuracy .*\| 12.5 +\|", rows[0])
    assert re.search(r"params.yaml +\| techniques.dropout.dropout +\| 0.2 +\| 0.375 +\|$", rows[1])


def test_the_container_and_the_editor_name_the_same_extensions() -> None:
    recommended = read(ROOT / ".vscode/extensions.json")["recommendations"]
    assert recommended == read(CONTAINER)["customizations"]["vscode"]["extensions"] == sorted(recommended)


def test_the_citation_describes_this_project() -> None:
    citation = read(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = [citation[key] for key in ("title", "version", "license")]
    assert described == [project[key] for key in ("description", "version", "license")]
    readme = (ROOT / "README.md").read_text()
    assert all(each.get("url", f"https://doi.org/{each.get('doi')}") in readme for each in citation["references"])
