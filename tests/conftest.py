"""A small project to run for real: this one's code and pipeline on a generated data set of a few hundred images."""

import signal
from pathlib import Path

import pytest

from tests.project import Project, write_data_set

ROOT = Path(__file__).parent.parent

# Shells have what they start in the background ignore Ctrl-C, which the commands under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def computed_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc repro` has run once. Shared: look, do not touch; `project` is a copy to change."""
    project = Project.create(ROOT, tmp_path_factory.mktemp("computed") / "project")
    write_data_set(project)
    project.commit("small study")
    project.dvc("repro")
    return project


@pytest.fixture
def project(computed_project: Project, tmp_path: Path) -> Project:
    """A copy, with its cache, of the computed project."""
    return computed_project.copy(tmp_path / "project")


@pytest.fixture
def new_project(tmp_path: Path) -> Project:
    """A small project with its data in data/raw, in which nothing has been computed."""
    project = Project.create(ROOT, tmp_path / "project")
    write_data_set(project)
    project.commit("small study")
    return project
