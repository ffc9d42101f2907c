"""Fixtures: small projects that really run this project's code and pipeline, on a few hundred generated images."""

import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from commands.pipeline import usable_cores
from lenet5.support.process import set_up
from tests import quick_start
from tests.project import Project, computed_once, write_data_set

ROOT = Path(__file__).parent.parent
# The fixtures that run or copy a project. A test that depends on one of them runs the pipeline or a program.
PROJECT_FIXTURES = {"computed_project", "new_project", "replicated_project", "fingerprinted_project"}

# Before torch is loaded. As in a program, so that its kernels do not depend on which modules a test process has
# imported; and one thread, since tests run in parallel on all cores. Where a test asks for two, none waits in a loop.
set_up()
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

# Projects are in memory where it can have them: a disk takes a second to delete a copy of one, and there are hundreds.
MEMORY = Path("/dev/shm")
if (
    "TMPDIR" not in os.environ
    and os.access(MEMORY, os.W_OK)
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    and shutil.disk_usage(MEMORY).free > 2 << 30
):
    tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)

# A user or a container may forbid it: then every program would compile all that it imports, which takes seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Shells let background jobs ignore Ctrl-C, nohup lets its command ignore a hang-up, and the commands under test would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config: pytest.Config) -> None:
    """Start the server of quick_start before the processes that share it, unless no test needs it. Without such
    processes, the first test that needs it starts it."""
    if config.getoption("numprocesses", None) and config.getoption("markexpr") != "not pipeline":
        quick_start.start()


def pytest_xdist_auto_num_workers() -> int | None:
    """Return the number of processes that run tests: one more than cores, since tests wait for programs. None if the
    user's variable sets it."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else usable_cores() + 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a small project, so that `make check` can leave them out."""
    for item in items:
        if PROJECT_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("pipeline")


def pytest_collection_finish() -> None:
    """Let no test look through the libraries' objects for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def computed_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which `dvc repro` has run once. All tests share it: change only a copy, which `project` is."""

    def compute(root: Path) -> None:
        project = Project.create(ROOT, root)
        write_data_set(project)
        project.commit("small study")
        project.dvc("repro")

    return computed_once("computed", compute, tmp_path_factory)


@pytest.fixture
def project(computed_project: Project, tmp_path: Path) -> Project:
    """A copy of the computed project, with its cache."""
    return computed_project.copy(tmp_path / "project")


@pytest.fixture
def new_project(tmp_path: Path) -> Project:
    """A small project with its data in data/raw, in which nothing has been computed."""
    project = Project.create(ROOT, tmp_path / "project")
    write_data_set(project)
    project.commit("small study")
    return project
