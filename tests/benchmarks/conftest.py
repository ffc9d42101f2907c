"""A computed project with the benchmarks."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project


@pytest.fixture
def benchmarked(computed_project: Project, tmp_path: Path) -> Project:
    """A computed project with the benchmarks, to change."""
    project = computed_project.copy(tmp_path / "project")
    shutil.copytree(ROOT / "benchmarks", project.root / "benchmarks")
    return project
