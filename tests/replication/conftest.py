"""Fixtures: the small project with its replication."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project, add_replication, computed_once, write_data_set
from tests.replication.replicates import replicate


@pytest.fixture(scope="session")
def replicated_project(computed_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The computed project with a few replicates. All tests share it: change only a copy, which `replicated` is."""

    def compute(root: Path) -> None:
        project = computed_project.copy(root)
        add_replication(project, ROOT)
        shutil.rmtree(project.root / "metrics/confirmation")  # as in a fork that has deleted metrics/
        replicate(project)
        project.commit("replicates")

    return computed_once("replicated", compute, tmp_path_factory)


@pytest.fixture
def replicated(replicated_project: Project, tmp_path: Path) -> Project:
    """A copy of the replicated project."""
    return replicated_project.copy(tmp_path / "replicated")


@pytest.fixture(scope="session")
def tuned_project(replicated_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The replicated project with its tuned techniques. All tests share it: change only a copy."""

    def compute(root: Path) -> None:
        project = replicated_project.copy(root)
        project.call_environment_ready()
        project.run("make", "tune")
        project.commit("tuned techniques")

    return computed_once("tuned", compute, tmp_path_factory)


@pytest.fixture(scope="session")
def fingerprinted_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A small replication, committed with its fingerprint; no replicate has been computed. Shared by all tests."""

    def compute(root: Path) -> None:
        project = Project.create(ROOT, root)
        write_data_set(project, epochs=3)
        add_replication(project, ROOT)
        project.dvc("--cd", "replication", "repro", "fingerprint")
        project.commit("small replication")

    return computed_once("fingerprinted", compute, tmp_path_factory)
