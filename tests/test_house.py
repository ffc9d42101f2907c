"""The rules of the house: who may import whom, sizes, names, and declared dependencies."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("lenet5", "stages", "commands", "replication", "benchmarks")
# The distributions of modules that have another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "pydantic_core": "pydantic",
    "ruamel": "ruamel.yaml",
    "vl_convert": "vl-convert-python",
}


def sources(*packages: str) -> list[Path]:
    """Return the Python files of these packages."""
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of each module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


PROGRAMS = {str(path.relative_to(ROOT)): path for path in sources(*PACKAGES) if "\nif __name__" in path.read_text()}


# commands/lock.py passes on what it does not know to uv; commands/environment.py has tests of its own.
@pytest.mark.parametrize("program", sorted(PROGRAMS.keys() - {"commands/lock.py", "commands/environment.py"}))
def test_a_program_refuses_arguments_that_it_does_not_know(program: str) -> None:
    text = PROGRAMS[program].read_text()
    guarded = text[text.index("\nif __name__") :]
    assert "take_no_arguments()" in guarded or ".parse_args(" in text


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts in pyproject.toml on the packages in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, check=False, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the packages and of pyproject.toml, to change."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("lenet5/support/paths.py", "import lenet5.training.loop", "No import runs upwards"),
        ("lenet5/data/dataset.py", "import lenet5.network.model", "No import runs upwards"),
        ("stages/select.py", "import commands.page", "No import runs upwards"),
        ("commands/page.py", "import stages.evaluate", "Nothing imports a stage"),
        ("replication/run.py", "import benchmarks.timing", "No import runs upwards"),
    ],
)
def test_an_import_that_breaks_a_contract_is_reported(path: str, line: str, contract: str, house: Path) -> None:
    kept = lint_imports(house)
    assert kept.returncode == 0, kept.stdout
    with (house / path).open("a") as file:
        file.write(f"\n{line}\n")
    broken = lint_imports(house)
    assert broken.returncode == 1
    assert f"{contract} BROKEN" in broken.stdout
    imported = line.removeprefix("import ")
    importer = path.removesuffix(".py").replace("/", ".")
    assert f"{importer} -> {imported}" in broken.stdout


def private_names_of_torch(path: Path) -> set[str]:
    """Return the private names of torch that a file uses, as attributes or imports."""
    tree = ast.parse(path.read_text())
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            dotted |= {f"{node.module}.{name.name}" for name in node.names}
    return {name for name in dotted if re.fullmatch(r"torch(\.\w+)*\._[^_]\w*", name)}


def test_only_the_optimizer_uses_private_functions_of_torch() -> None:
    users = {str(path.relative_to(ROOT)) for path in sources(*PACKAGES) if private_names_of_torch(path)}
    assert users == {"lenet5/training/optimizer.py"}


def names(requirements: list[str]) -> set[str]:
    """Return the names of the packages in a list of requirements."""
    return {re.split(r"[^\w.-]", line)[0].lower() for line in requirements}


# What may import the packages of a group, which not every environment has
OF_GROUP = {"export": ("lenet5/export/", "commands/export.py"), "plots": ("commands/page.py",)}
OF_GROUP |= {"benchmark": ("benchmarks/",), "s3": ()}


def test_every_imported_package_is_a_declared_dependency() -> None:
    declaration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = declaration["dependency-groups"]
    assert groups.keys() == OF_GROUP.keys() | {"test"}
    undeclared: dict[str, set[str]] = {}
    for path in sources(*PACKAGES):
        declared = names(declaration["project"]["dependencies"])
        for group, users in OF_GROUP.items():
            if str(path.relative_to(ROOT)).startswith(users):
                declared |= names(groups[group])
        modules = {name.split(".")[0] for name in imported_modules(path)} - {*sys.stdlib_module_names, *PACKAGES}
        missing = {DISTRIBUTIONS.get(module, module).lower() for module in modules} - declared
        undeclared |= {str(path.relative_to(ROOT)): missing} if missing else {}
    assert undeclared == {}


def test_no_source_file_is_longer_than_250_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources(*PACKAGES)}
    assert {path: length for path, length in lengths.items() if length > 250} == {}


def test_no_test_name_is_longer_than_60_characters() -> None:
    names = (
        (path, node.name)
        for path in sources("tests")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    assert [f"{path.relative_to(ROOT)}::{name}" for path, name in names if len(name) > 60] == []


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in sources("tests")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
